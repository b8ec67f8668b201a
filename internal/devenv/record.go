package devenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"patchbay/internal/fault"
)

// Info is where the parts of an environment are. An address is empty while its
// part is not there.
type Info struct {
	HTTP     string  `json:"http"`     // API and console, http://HOST:PORT
	Temporal string  `json:"temporal"` // HOST:PORT
	UI       string  `json:"ui"`       // Temporal Web UI, http://HOST:PORT
	Sandbox  string  `json:"sandbox"`  // http://HOST:PORT
	SMTP     string  `json:"smtp"`     // HOST:PORT of the sandbox's mail server
	Bank     string  `json:"bank"`     // postgres://… of the sandbox's core banking, with the password of who may read it
	Database string  `json:"database"` // postgres://…, with the password of the owner
	Metrics  string  `json:"metrics"`  // Temporal's Prometheus endpoint, http://HOST:PORT/metrics
	Cluster  string  `json:"cluster"`  // directory of the private PostgreSQL cluster
	Speed    float64 `json:"speed"`    // by which durations are divided
	// Regions are those that run beside, by name.
	Regions map[string]Region `json:"regions,omitempty"`
}

// Region is where the parts of one region are; as Info.
type Region struct {
	HTTP     string `json:"http"`
	Temporal string `json:"temporal"`
	UI       string `json:"ui"`
	Database string `json:"database"`
	Metrics  string `json:"metrics"`
}

type (
	// record is the content of dev.json.
	record struct {
		Info
		PID      int            `json:"pid"`   // of the Patchbay that wrote it
		Ports    map[string]int `json:"ports"` // last ones used, kept across restarts
		Children []child        `json:"children"`
	}

	// child is one process on record.
	child struct {
		Name string `json:"name"`
		identity
		Parameters string `json:"parameters"` // digest of what it was started with
	}
)

// RecordFile is the name of the record in an environment's directory.
const RecordFile = "dev.json"

// ReadInfo reads where the environment of dir is. It fails with a NotFound fault
// when there has been none.
func ReadInfo(dir string) (Info, error) {
	r, err := readRecord(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, fault.New(fault.NotFound, "devenv.none", "no environment was started in "+dir, err)
	}
	return r.Info, err
}

func readRecord(dir string) (record, error) {
	r := record{Ports: map[string]int{}}
	b, err := os.ReadFile(filepath.Join(dir, RecordFile))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fault.New(fault.Invalid, "devenv.record", fmt.Sprintf(
			"%s cannot be read, so nobody knows which processes it speaks of; end what still runs for %s by hand, then remove that file: the data stays",
			filepath.Join(dir, RecordFile), dir), err)
	}
	if r.Ports == nil {
		r.Ports = map[string]int{}
	}
	return r, nil
}

// write replaces the record in one step; a reader sees the old or the new one.
func (r record) write(dir string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, RecordFile), append(b, '\n'))
}

func writeFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
