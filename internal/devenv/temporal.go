package devenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"patchbay/internal/fault"
)

// TemporalVersion is the version of the Temporal CLI that `make tools` installs.
const TemporalVersion = "v1.5.1"

// TemporalServer says where a Temporal development server listens and what it
// keeps. All of it is on 127.0.0.1.
type TemporalServer struct {
	Port        int    // gRPC
	UIPort      int    // Web UI; 0 runs without it
	MetricsPort int    // Prometheus endpoint at /metrics
	File        string // database; empty keeps everything in memory
}

// The settings that the development server needs to be as quick as a real one,
// and to have what production has.
var dynamicConfig = []string{
	// The default of 20 polls a second and shard costs 50 ms a hop.
	"history.transferProcessorMaxPollRPS=5000",
	"history.timerProcessorMaxPollRPS=5000",
	"history.visibilityProcessorMaxPollRPS=5000",
	// A task on a partition without a local poller can wait out two seconds.
	"matching.numTaskqueueReadPartitions=1",
	"matching.numTaskqueueWritePartitions=1",
	"system.enableActivityEagerExecution=true",
	// Priority and fairness keys are ignored without these.
	"matching.useNewMatcher=true",
	"matching.enableFairness=true",
}

// Args are the arguments of the Temporal CLI that start the server.
func (s TemporalServer) Args() []string {
	args := []string{
		"server", "start-dev",
		"--ip", "127.0.0.1",
		"--port", strconv.Itoa(s.Port),
		"--metrics-port", strconv.Itoa(s.MetricsPort),
		"--log-level", "warn",
		"--disable-config-env", "--disable-config-file",
	}
	if s.UIPort > 0 {
		args = append(args, "--ui-ip", "127.0.0.1", "--ui-port", strconv.Itoa(s.UIPort))
	} else {
		args = append(args, "--headless")
	}
	if s.File != "" {
		args = append(args, "--db-filename", s.File,
			"--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL")
	}
	for _, c := range dynamicConfig {
		args = append(args, "--dynamic-config-value", c)
	}
	return args
}

// addresses are where the server, its metrics and its Web UI are reached.
func (s TemporalServer) addresses() (server, metrics, ui string) {
	if s.UIPort != 0 {
		ui = "http://" + address(s.UIPort)
	}
	return address(s.Port), "http://" + address(s.MetricsPort) + "/metrics", ui
}

// TemporalBinary finds the Temporal CLI: where `make tools` puts it, else in
// PATH. The cache comes first because its version is the one that is tested.
func TemporalBinary() (string, error) {
	if cache, err := os.UserCacheDir(); err == nil {
		path := filepath.Join(cache, "patchbay", "temporal-"+TemporalVersion, "temporal")
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	if path, err := exec.LookPath("temporal"); err == nil {
		return path, nil
	}
	return "", fault.NotFoundf("devenv.no_temporal", "the temporal binary is neither in the cache nor in PATH; run: make tools")
}
