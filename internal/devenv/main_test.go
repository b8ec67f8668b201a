package devenv_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"patchbay/internal/devenv"
	"patchbay/internal/devenv/testenv"
)

// The test binary plays two other programs: the sandbox that an environment
// starts, and a Patchbay that owns an environment and can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "sandbox":
			os.Exit(playSandbox(os.Args[2:]))
		case "own":
			os.Exit(playOwner(os.Args[2], os.Args[3]))
		}
	}
	testenv.AtATime(3)
	os.Exit(m.Run())
}

func playSandbox(args []string) int {
	flags := flag.NewFlagSet("sandbox", flag.ExitOnError)
	listen := flags.String("listen", "", "")
	flags.Int("smtp-port", 0, "")
	flags.String("database", "", "")
	flags.Float64("speed", 1, "")
	_ = flags.Parse(args)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: *listen, ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go func() { <-ctx.Done(); _ = server.Close() }()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func playOwner(dir, temporal string) int {
	_, err := devenv.Start(context.Background(), devenv.Options{Dir: dir, Temporal: temporal})
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, "ready")
	select {}
}
