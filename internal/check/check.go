package check

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"patchbay/calculator"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
	"patchbay/internal/risk/calculators"
)

// ConnectionsFile is the one file of a directory that is no flow.
const ConnectionsFile = "connections.yaml"

const testSuffix = "_test.yaml"

type (
	// Options say how a directory is checked.
	Options struct {
		// Name stands before file names in diagnostics, for example "flows".
		Name string
		// Tests also runs the flow tests; each that fails is a problem.
		Tests bool
		// Compile is handed to flowfile.Compile.
		Compile flowfile.Options
	}

	// Report is what a check found. Its JSON is an interface.
	Report struct {
		Problems []flowfile.Diagnostic `json:"problems"`
		Tests    *Summary              `json:"tests,omitempty"` // nil unless tests were run

		// Flows are the flows that compiled, by the order of their files.
		Flows []Flow `json:"-"`
		// Connections are what connections.yaml declares.
		Connections []flow.Connection `json:"-"`
		Peers       []flow.Peer       `json:"-"` // how regions reach each other
		Declared    flowfile.File     `json:"-"` // connections.yaml
		Alerts      flow.Alerting     `json:"-"` // who is told when something is wrong
		// Files counts the files that were read, and broken are those of flows that did not compile.
		Files  int `json:"-"`
		broken []string
	}

	// Summary counts flow tests.
	Summary struct {
		Passed int `json:"passed"`
		Failed int `json:"failed"`
	}

	// Flow is one compiled flow and where it stands.
	Flow struct {
		Plan *flow.Plan
		File flowfile.File
	}
)

// Dir checks a directory: flows are its *.yaml files, without folders. The error
// tells that the directory itself cannot be read; everything else is a Problem.
func Dir(dir fs.FS, o Options) (Report, error) {
	if o.Compile.Contracts == nil {
		hosted, err := calculators.All()
		if err != nil {
			return Report{}, fmt.Errorf("listing the calculators: %w", err)
		}
		o.Compile.Contracts = map[string]calculator.Contract{}
		for _, c := range hosted {
			o.Compile.Contracts[c.Name()+" "+c.Version()] = c.Contract()
		}
	}
	c := &checker{dir: dir, options: o}
	names, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		return Report{}, fmt.Errorf("listing the flows: %w", err)
	}
	other, err := fs.Glob(dir, "*.yml")
	if err != nil {
		return Report{}, fmt.Errorf("listing the flows: %w", err)
	}
	if len(names)+len(other) == 0 {
		return Report{}, fault.Invalidf("check.empty", "there are no flow files (*.yaml) in %s", o.where())
	}
	for _, name := range other {
		c.problem(name, 1, 1, flowfile.CodeUnused, flowfile.Warning, "the file ends in .yml and is not read", "rename it to .yaml")
	}
	if err := c.load(names); err != nil {
		return Report{}, err
	}
	for _, proof := range proofs {
		c.report.Problems = append(c.report.Problems, proof(c.loaded)...)
	}
	flowfile.Sort(c.report.Problems)
	if c.report.Problems == nil {
		c.report.Problems = []flowfile.Diagnostic{}
	}
	return c.report, nil
}

// Failed reports whether the directory must not be applied.
func (r Report) Failed() bool { return flowfile.Failed(r.Problems) }

// Broken are the files of flows that did not compile.
func (r Report) Broken() []string { return r.broken }

func (o Options) where() string {
	if o.Name == "" {
		return "the directory"
	}
	return o.Name
}

// checker reads the files of one directory.
type checker struct {
	dir     fs.FS
	options Options
	report  Report
	loaded  Loaded
}

func (c *checker) load(names []string) error {
	connections := &flowfile.Connections{File: c.name(ConnectionsFile)}
	if slices.Contains(names, ConnectionsFile) {
		file, err := c.read(ConnectionsFile)
		if err != nil {
			return err
		}
		c.report.Declared = file
		parsed, diags := flowfile.ParseConnections(file)
		connections = parsed
		c.report.Problems = append(c.report.Problems, diags...)
	} else {
		c.problem(ConnectionsFile, 1, 1, flowfile.CodeRequired, flowfile.Error, "there is no "+ConnectionsFile, "declare the systems that the flows talk to")
	}
	c.report.Connections, c.report.Alerts, c.report.Peers = connections.List, connections.Alerts, connections.Peers
	c.loaded.Connections, c.loaded.Declared = connections, c.report.Declared
	c.loaded.Complete, c.loaded.Speed = true, c.options.Compile.Speed
	if c.loaded.Now = c.options.Compile.Now; c.loaded.Now.IsZero() {
		c.loaded.Now = time.Now()
	}
	plans := map[string]*flow.Plan{}
	for _, name := range names {
		if name == ConnectionsFile || strings.HasSuffix(name, testSuffix) {
			continue
		}
		file, err := c.read(name)
		if err != nil {
			return err
		}
		plan, diags := flowfile.Compile(file, connections.List, c.compile())
		c.report.Problems = append(c.report.Problems, diags...)
		if plan == nil {
			c.loaded.Complete = false
			c.report.broken = append(c.report.broken, file.Name)
			plans[name] = nil
			continue
		}
		plans[name] = plan
		c.report.Flows = append(c.report.Flows, Flow{Plan: plan, File: file})
	}
	c.loaded.Flows = c.report.Flows
	return c.tests(names, plans)
}

// compile reads templates from the directory itself.
func (c *checker) compile() flowfile.Options {
	o := c.options.Compile
	o.Peers = append([]flow.Peer{}, c.report.Peers...) // known, even if there are none
	o.File = func(name string) ([]byte, error) { return fs.ReadFile(c.dir, name) }
	return o
}

// tests reads the flow tests, and runs them where the options say so.
func (c *checker) tests(names []string, plans map[string]*flow.Plan) error {
	if c.options.Tests {
		c.report.Tests = &Summary{}
	}
	for _, name := range names {
		if !strings.HasSuffix(name, testSuffix) {
			continue
		}
		file, err := c.read(name)
		if err != nil {
			return err
		}
		tests, diags := flowfile.ParseTests(file)
		c.report.Problems = append(c.report.Problems, diags...)
		tested := strings.TrimSuffix(name, testSuffix) + ".yaml"
		plan, exists := plans[tested]
		if !exists {
			c.problem(name, 1, 1, flowfile.CodeUnknownRef, flowfile.Error, fmt.Sprintf("there is no flow file %s to test", tested), "name the tests of FLOW.yaml FLOW"+testSuffix)
		}
		if !c.options.Tests || plan == nil || tests == nil {
			continue
		}
		results, err := tests.Run(plan)
		if err != nil {
			return fmt.Errorf("running the tests of %s: %w", tested, err)
		}
		c.results(results)
	}
	return nil
}

func (c *checker) results(results []flowfile.Result) {
	for _, r := range results {
		if r.Diff == "" {
			c.report.Tests.Passed++
			continue
		}
		c.report.Tests.Failed++
		c.report.Problems = append(c.report.Problems, flowfile.Diagnostic{
			File: r.File, Line: r.Line, Col: r.Col, Code: flowfile.CodeTestFailed, Severity: flowfile.Error,
			Message: fmt.Sprintf("the test %q fails (- expected, + given):\n%s", r.Name, r.Diff),
		})
	}
}

func (c *checker) read(name string) (flowfile.File, error) {
	data, err := fs.ReadFile(c.dir, name)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return flowfile.File{}, fault.New(fault.Invalid, "check.unreadable", fmt.Sprintf("%s may not be read", c.name(name)), err)
		}
		return flowfile.File{}, fmt.Errorf("reading %s: %w", c.name(name), err)
	}
	c.report.Files++
	return flowfile.File{Name: c.name(name), Data: data}, nil
}

func (c *checker) name(file string) string { return path.Join(c.options.Name, file) }

func (c *checker) problem(file string, line, col int, code string, s flowfile.Severity, message, fix string) {
	c.report.Problems = append(c.report.Problems, flowfile.Diagnostic{
		File: c.name(file), Line: line, Col: col, Code: code, Severity: s, Message: message, Fix: fix,
	})
}
