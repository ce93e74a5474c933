// Command spawnwatch finds every workload that was created in Kubernetes audit logs and publishes an alert for each.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes, documented in the help of each command.
const (
	exitOK     = 0
	exitBad    = 1 // a record was bad, or an input could not be opened or read to its end
	exitUsage  = 2 // wrong arguments
	exitConfig = 3 // the configuration or a rule is wrong
)

func main() {
	// A reader of standard output that goes away is reported by the write to it, and ends a replay cleanly.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// streams are where a command reads and writes: out is data, err is for people.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// run executes one command line and returns its exit code.
func run(args []string, std streams) int {
	ctx, stop := untilSignal(context.Background())
	defer stop()

	root := newRoot(std)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil || errors.Is(err, syscall.EPIPE) {
		// Whoever reads the output has enough of it.
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		// What cobra itself finds wrong is a matter of usage.
		exit = &exitError{code: exitUsage, err: err}
	}
	if exit.err != nil {
		fmt.Fprintf(std.err, "spawnwatch: %v\n", exit.err)
	}
	return exit.code
}

// untilSignal returns a context that the first SIGINT or SIGTERM ends. The second ends the process at once, however soon
// it comes.
func untilSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for first := true; ; first = false {
			select {
			case <-signals:
				if !first {
					os.Exit(exitBad)
				}
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}

// exitError ends the program with a code. Without err everything worth saying has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func newRoot(std streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "spawnwatch",
		Short: "Finds every created workload in Kubernetes audit logs",
		Long: `spawnwatch reads Kubernetes audit events, finds every event in which a workload was
created (Pod, Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob,
ReplicationController, chosen custom resources), enriches it, and publishes an alert.

Standard output is data, standard error is for people.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.AddCommand(newRun(std), newReplay(std), newRules(std), newCheck(std), newConfigCommand(std), newDemo(std), newTail(std), newHealth(), newVersion(std))
	return root
}
