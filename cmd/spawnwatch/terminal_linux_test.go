package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"
)

// pty is a terminal whose screen the test reads (pts(4)).
type pty struct {
	master, terminal *os.File
	screen           lockedBuffer
	read             sync.WaitGroup
}

func newPTY(t *testing.T, width int) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("this machine has no pseudo-terminals: %v", err)
	}
	var number, unlock int32
	ioctl(t, master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	ioctl(t, master, syscall.TIOCGPTN, unsafe.Pointer(&number))
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("this machine has no pseudo-terminals: %v", err)
	}
	size := [4]uint16{24, uint16(width), 0, 0}
	ioctl(t, terminal, syscall.TIOCSWINSZ, unsafe.Pointer(&size))
	p := &pty{master: master, terminal: terminal}
	p.read.Go(func() { _, _ = io.Copy(&p.screen, master) }) // ends with EIO once nobody holds the terminal
	t.Cleanup(func() { p.close() })
	return p
}

func (p *pty) close() {
	_ = p.terminal.Close()
	p.read.Wait()
	_ = p.master.Close()
}

func ioctl(t *testing.T, f *os.File, request uintptr, arg unsafe.Pointer) {
	t.Helper()
	conn, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var errno syscall.Errno
	if err := conn.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(arg))
	}); err != nil {
		t.Fatal(err)
	}
	if errno != 0 {
		t.Fatal(errno)
	}
}

// terminalRun is the program with a terminal for each of its outputs that is nil.
type terminalRun struct {
	width          int
	env            []string
	stdout, stderr io.Writer
	args           []string
	// feed, where not nil, writes standard input; screen shows the terminal so far.
	feed func(in io.Writer, screen func() string)
}

// do runs to the end and returns what came to the terminal.
func (r terminalRun) do(t *testing.T) string {
	t.Helper()
	p := newPTY(t, r.width)
	cmd := exec.CommandContext(t.Context(), os.Args[0], r.args...)
	cmd.Env = append(append(os.Environ(), "SPAWNWATCH_TEST_MAIN=1", "TERM=xterm-256color", "NO_COLOR="), r.env...)
	cmd.Stdout, cmd.Stderr = r.stdout, r.stderr
	if r.stdout == nil {
		cmd.Stdout = p.terminal
	}
	if r.stderr == nil {
		cmd.Stderr = p.terminal
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if r.feed != nil {
		r.feed(in, p.screen.String)
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, p.screen.String())
	}
	p.close()
	return strings.ReplaceAll(p.screen.String(), "\r\n", "\n") // what the line discipline made of line feeds (ONLCR)
}

// TestCardsOnTerminal: cards without being asked, as wide as the terminal, coloured unless told not to.
func TestCardsOnTerminal(t *testing.T) {
	run := terminalRun{width: 60, stderr: io.Discard, args: []string{"replay", "demodata/audit.jsonl.gz"}}
	coloured := run.do(t)
	if !strings.Contains(coloured, "\x1b["+onRed+"m CRITICAL 100 \x1b[0m") {
		t.Errorf("no coloured card:\n%.500q", coloured)
	}
	run.env = []string{"NO_COLOR=1"}
	plain := run.do(t)
	if uncoloured(coloured) != plain {
		t.Error("NO_COLOR changes more than colours")
	}
	for line := range strings.Lines(plain) {
		line = strings.TrimSuffix(line, "\n")
		mustBeSafe(t, line)
		command := false
		for _, label := range []string{"look", "find", "stop", "revoke"} {
			command = command || strings.HasPrefix(line, "  "+label+" ")
		}
		if columns(line) > run.width && !command {
			t.Errorf("%d columns of %d: %s", columns(line), run.width, line)
		}
	}
	run.env = []string{"TERM=dumb"}
	if dumb := run.do(t); dumb != plain {
		t.Error("a dumb terminal gets something else than one without colours")
	}
}

// TestProgressOnTerminal: the bar stands on standard error alone, leaves no trace, and tears no row. The input comes in
// two halves, so that the bar has the time to show.
func TestProgressOnTerminal(t *testing.T) {
	lines, err := demoLines()
	if err != nil {
		t.Fatal(err)
	}
	log := append(bytes.Join(lines, []byte("\n")), '\n')
	const bar = "B read  "
	halves := func(wantBar bool) func(io.Writer, func() string) {
		return func(in io.Writer, screen func() string) {
			if _, err := in.Write(log[:len(log)/2]); err != nil {
				t.Fatal(err)
			}
			if wantBar {
				eventually(t, "the bar", func() bool { return strings.Contains(screen(), bar) }, screen)
			}
			if _, err := in.Write(log[len(log)/2:]); err != nil {
				t.Fatal(err)
			}
		}
	}
	args := []string{"replay", "-o", "table", "-"}

	// Standard output is a file: it is the same to the byte as without a terminal.
	var out, same, summary bytes.Buffer
	screen := terminalRun{width: 80, stdout: &out, args: args, feed: halves(true)}.do(t)
	if got := rendered(screen); !strings.HasPrefix(got, "223 events in 223 records") {
		t.Errorf("the bar left a trace:\n%q", got)
	}
	terminalRun{width: 80, stdout: &same, stderr: &summary, args: args, feed: halves(false)}.do(t)
	if !bytes.Equal(out.Bytes(), same.Bytes()) || strings.Contains(summary.String(), "\r") {
		t.Error("the bar shows where there is no terminal")
	}

	// Both on one terminal: rows and summary stand there as if the bar had never been.
	both := rendered(terminalRun{width: defaultWidth, env: []string{"NO_COLOR=1"}, args: args, feed: halves(true)}.do(t))
	if rows, ok := strings.CutPrefix(both, same.String()); !ok || !strings.HasPrefix(rows, "223 events in 223 records") {
		t.Errorf("the bar left a trace or tore a row:\n%s", both)
	}
}

// rendered is what a screen shows at the end of a stream that uses carriage return and "erase in line" (EL 2) alone.
func rendered(stream string) string {
	var lines []string
	for line := range strings.SplitSeq(stream, "\n") {
		if at := strings.LastIndex(line, "\r\x1b[2K"); at >= 0 {
			line = line[at+len("\r\x1b[2K"):]
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
