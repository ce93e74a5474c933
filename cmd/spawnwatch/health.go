package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// healthLimit is how long a health check waits for its answer.
	healthLimit = 3 * time.Second
	// healthBody is how much of a bad answer is shown, in bytes.
	healthBody = 4 << 10
)

func newHealth() *cobra.Command {
	var path, address string
	var live bool
	cmd := &cobra.Command{
		Use:   "health [-c FILE | --admin HOST:PORT] [--live]",
		Short: "Ask a running spawnwatch whether it is ready",
		Long: `health asks the admin listener of a running spawnwatch, for health checks in images that
have no other tool. The address is that of the configuration, --admin, or 127.0.0.1:9464.

Exit code 0 if it is ready (with --live: alive), 1 if not, 3 if the configuration is wrong.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path != "" {
				cfg, err := readConfig(path)
				if err != nil {
					return &exitError{code: exitConfig, err: err}
				}
				address = cfg.Admin.Listen
			}
			endpoint := "/readyz"
			if live {
				endpoint = "/livez"
			}
			if err := askHealth(cmd.Context(), address, endpoint); err != nil {
				return &exitError{code: exitBad, err: err}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "", "the configuration file of the running program")
	cmd.Flags().StringVar(&address, "admin", defaultConfig().Admin.Listen, "the address of its admin listener")
	cmd.Flags().BoolVar(&live, "live", false, "ask whether it is alive, not whether it is ready")
	cmd.MarkFlagsMutuallyExclusive("config", "admin")
	return cmd
}

// askHealth returns nil if the admin listener at address answers endpoint with 200.
func askHealth(ctx context.Context, address, endpoint string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("expected the admin listener as host:port, got %q", address)
	}
	// A listener on every address is asked on loopback.
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	url := "http://" + net.JoinHostPort(host, port) + endpoint
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// Proxies of the environment are for peers elsewhere.
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("the admin listener does not answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, healthBody))
	if err != nil {
		return fmt.Errorf("%s answered %s, and its reason broke off: %w", url, resp.Status, err)
	}
	return fmt.Errorf("%s answered %s: %s", url, resp.Status, printable(strings.TrimSpace(string(body))))
}
