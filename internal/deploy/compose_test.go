package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"patchbay/internal/devenv"
)

const root = "../.."

// load reads docker-compose.yml as `docker compose` does, env files included,
// with nothing from the environment.
func load(t *testing.T) *types.Project {
	t.Helper()
	return loadRegion(t, "")
}

// loadRegion reads it with deploy/region.yaml and the file of a region, as docs say to.
func loadRegion(t *testing.T, region string) *types.Project {
	t.Helper()
	files, with := []string{filepath.Join(root, "docker-compose.yml")}, []cli.ProjectOptionsFn{cli.WithWorkingDirectory(root), cli.WithEnv(nil)}
	if region != "" {
		files = append(files, filepath.Join(root, "deploy/region.yaml"))
		with = append(with, cli.WithEnvFiles(filepath.Join(root, "deploy/regions", region+".env")), cli.WithDotEnv)
	}
	options, err := cli.NewProjectOptions(files, append(with, cli.WithConsistency(true), cli.WithInterpolation(true))...)
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return project
}

func source(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(b)
}

// jobs end; every other service is a server.
var jobs = []string{"temporal-schema", "temporal-namespace", "apply"}

func TestComposeRunsPostgresTemporalAndEveryProcessOfPatchbay(t *testing.T) {
	t.Parallel()
	p := load(t)
	require.ElementsMatch(t, []string{"postgres", "temporal-schema", "temporal", "temporal-namespace", "temporal-ui", "sandbox", "apply", "worker", "fleet", "serve"}, p.ServiceNames())
	require.Equal(t, 2, *p.Services["worker"].Deploy.Replicas)
	for name, s := range p.Services {
		require.Empty(t, s.ContainerName, "%s: a fixed name stands in the way of a second installation", name)
		if slices.Contains(jobs, name) {
			require.Equal(t, types.RestartPolicyNo, s.Restart, name)
			continue
		}
		require.Equal(t, types.RestartPolicyUnlessStopped, s.Restart, name)
		require.NotNil(t, s.HealthCheck, "%s has a health check", name)
		require.False(t, s.HealthCheck.Disable)
		require.Equal(t, "CMD", s.HealthCheck.Test[0], "%s: no shell to ask", name)
		require.NotNil(t, s.HealthCheck.Interval, name)
		require.NotNil(t, s.HealthCheck.Timeout, name)
	}
}

func TestComposeFollowsTablesByTheLogOfPostgres(t *testing.T) {
	t.Parallel()
	command := load(t).Services["postgres"].Command
	for _, setting := range []string{"wal_level=logical", "max_slot_wal_keep_size=4GB"} {
		require.Contains(t, command, setting)
	}
}

// The second file makes an installation a region: its processes are told which, its own
// secret, and the borders of the others; nothing of another region's system.
func TestComposeMakesAnInstallationOneRegionOfSeveral(t *testing.T) {
	t.Parallel()
	regions := []string{"ch", "de", "fr"}
	for _, region := range regions {
		p := loadRegion(t, region)
		require.ElementsMatch(t, load(t).ServiceNames(), p.ServiceNames())
		for _, name := range []string{"apply", "worker", "serve"} {
			env := p.Services[name].Environment
			for _, of := range regions {
				secret, border := env["PATCHBAY_SANDBOX_SECRET_"+strings.ToUpper(of)], env["PATCHBAY_EGRESS_"+strings.ToUpper(of)]
				require.Equal(t, of == region, secret != nil, "%s of %s and the secret of %s", name, region, of)
				require.Equal(t, of != region, border != nil, "%s of %s and the border of %s", name, region, of)
			}
			require.Equal(t, region, *env["PATCHBAY_REGION"])
			require.Equal(t, "http://sandbox:8090", *env["PATCHBAY_SANDBOX"], "what stands in the first file stays")
		}
		for _, name := range []string{"postgres", "sandbox", "temporal"} {
			for key := range p.Services[name].Environment {
				require.NotContains(t, key, "PATCHBAY_", "%s is told nothing of regions", name)
			}
		}
		passwords := *p.Services["apply"].Environment["PATCHBAY_EGRESS_PASSWORDS"]
		for _, of := range regions {
			require.Equal(t, of != region, strings.Contains(passwords, of+"=${file:/run/egress/"+of+"}"), "a reference, never a password: %s", passwords)
		}
		require.Contains(t, p.Services["apply"].Volumes[len(p.Services["apply"].Volumes)-1].Source, "deploy/secrets/egress")
		require.Equal(t, "127.0.0.1", p.Services["postgres"].Ports[0].HostIP)
		require.Contains(t, p.Services["postgres"].Networks, "default", "others come to the border")
		require.Equal(t, load(t).Services["worker"].Command, p.Services["worker"].Command)
	}
}

// What a process needs is there before it starts; a job that must have ended has ended well.
func TestComposeStartsEachServiceWhenWhatItNeedsIsReady(t *testing.T) {
	t.Parallel()
	p := load(t)
	const healthy, ended, started = types.ServiceConditionHealthy, types.ServiceConditionCompletedSuccessfully, types.ServiceConditionStarted
	want := map[string]map[string]string{
		"postgres":           {},
		"temporal-schema":    {"postgres": healthy},
		"temporal":           {"temporal-schema": ended},
		"temporal-namespace": {"temporal": healthy},
		"temporal-ui":        {"temporal": healthy},
		"sandbox":            {"postgres": healthy},
		"apply":              {"temporal-namespace": ended, "sandbox": healthy},
		"worker":             {"apply": started, "sandbox": healthy}, // apply waits for them: they cannot wait for its end
		"fleet":              {"apply": started},
		"serve":              {"apply": ended},
	}
	for name, s := range p.Services {
		have := map[string]string{}
		for other, d := range s.DependsOn {
			have[other] = d.Condition
		}
		require.Equal(t, want[name], have, name)
	}
}

func TestComposeGivesNoProcessMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	for name, s := range load(t).Services {
		require.True(t, s.ReadOnly, "%s writes to its image", name)
		require.Equal(t, []string{"ALL"}, s.CapDrop, name)
		require.Empty(t, s.CapAdd, name)
		require.False(t, s.Privileged, name)
		require.Contains(t, s.SecurityOpt, "no-new-privileges:true", name)
		require.NotEqual(t, "host", s.NetworkMode, name)
		if s.Build == nil { // ours says so in the Dockerfile
			require.Regexp(t, `^[1-9]\d*:[1-9]\d*$`, s.User, "%s runs as root", name)
		}
		for _, v := range s.Volumes {
			require.True(t, v.ReadOnly || v.Type == types.VolumeTypeVolume, "%s may write to %s", name, v.Source)
			require.NotContains(t, v.Source, "docker.sock")
			if v.Type == types.VolumeTypeBind {
				_, err := os.Stat(v.Source)
				require.NoError(t, err, name)
			}
		}
	}
}

func TestComposePublishesTheConsoleAndTheWebUIOnLoopbackAndNothingElse(t *testing.T) {
	t.Parallel()
	p := load(t)
	published := map[string]string{}
	for name, s := range p.Services {
		for _, port := range s.Ports {
			require.Equal(t, "127.0.0.1", port.HostIP, name)
			published[name] = port.Published
		}
	}
	require.Equal(t, map[string]string{"serve": "8080", "temporal-ui": "8233"}, published)
	require.True(t, p.Networks["data"].Internal)
	for _, name := range []string{"postgres", "temporal", "sandbox"} {
		require.Len(t, p.Services[name].Networks, 1, name)
		require.Contains(t, p.Services[name].Networks, "data", name)
	}
}

// What the example connections name is there under that name: the stand-ins, their mail
// server, and serve for their webhooks. Each process that resolves a reference to them
// is given it.
func TestComposeLetsTheStandInsTakeMailAndDeliver(t *testing.T) {
	t.Parallel()
	p := load(t)
	var mail string
	for _, name := range []string{"apply", "worker", "serve"} {
		env := p.Services[name].Environment
		require.Equal(t, "http://sandbox:8090", *env["PATCHBAY_SANDBOX"], name)
		require.NotEmpty(t, *env["PATCHBAY_SANDBOX_SECRET"], name)
		require.NotEmpty(t, *env["PATCHBAY_SANDBOX_HOOK"], name)
		mail = *env["PATCHBAY_SANDBOX_SMTP"]
		host, port, _ := strings.Cut(mail, ":")
		require.Contains(t, p.Services["sandbox"].Command, "--smtp-port="+port, name)
		require.Contains(t, source(t, "flows/connections.yaml"), "plain_host: "+host+" ", "mail goes there without TLS, and nowhere else")
	}
	require.Contains(t, p.Services["sandbox"].Command, "--webhook-host=serve")
	require.Contains(t, p.Services["apply"].Command, "--hooks=http://serve:8080")
	for _, name := range []string{"sandbox", "serve"} {
		require.Contains(t, p.Services[name].Networks, "data", "%s reaches the other", name)
	}
	require.Contains(t, p.Services["serve"].Command, "--http=0.0.0.0:8080")
}

var (
	secretish = regexp.MustCompile(`(?i)(password|pwd|secret|token|key)`)
	inURL     = regexp.MustCompile(`://[^/@:]+:([^@]*)@`)
	fromFile  = regexp.MustCompile(`^\$\{file:/run/secrets/([a-z_]+)\}$`)
)

func TestComposeHandsOutSecretsAsFilesToThoseWhoReadThem(t *testing.T) {
	t.Parallel()
	p := load(t)
	for name, secret := range p.Secrets {
		require.Equal(t, filepath.Join(absolute(t, "deploy/secrets"), name), secret.File)
		require.Empty(t, secret.Content, name)
		require.Empty(t, secret.Environment, name)
	}
	require.Contains(t, strings.Fields(source(t, "deploy/.gitignore")), "/secrets/")
	require.Contains(t, strings.Fields(source(t, ".dockerignore")), "deploy/secrets")
	handed := map[string]bool{}
	for name, s := range p.Services {
		mine := map[string]bool{}
		for _, secret := range s.Secrets {
			mine[secret.Source], handed[secret.Source] = true, true
		}
		read := map[string]bool{}
		for variable, value := range s.Environment {
			if file, ok := strings.CutPrefix(*value, "/run/secrets/"); ok {
				require.True(t, strings.HasSuffix(variable, "_FILE"), "%s: %s", name, variable)
				read[file] = true
			} else if variable == "PATCHBAY_SANDBOX_SECRET" || variable == "PATCHBAY_SANDBOX_BANK_PASSWORD" {
				continue // known to everybody: it opens the stand-ins, which hold nothing
			} else {
				require.NotRegexp(t, secretish, variable, "%s: a secret is written out", name)
			}
		}
		for _, arg := range slices.Concat(s.Entrypoint, s.Command) {
			if password := inURL.FindStringSubmatch(arg); password != nil {
				require.Regexp(t, fromFile, password[1], "%s: a password is written out", name)
			}
			flag, value, _ := strings.Cut(arg, "=")
			if strings.HasSuffix(flag, "password") {
				require.Regexp(t, fromFile, value, name)
			}
			for _, file := range regexp.MustCompile(`/run/secrets/([a-z_]+)`).FindAllStringSubmatch(arg, -1) {
				read[file[1]] = true
			}
		}
		require.Equal(t, mine, read, "%s is given what it reads, and no more", name)
	}
	require.Len(t, handed, len(p.Secrets))
}

var pinned = regexp.MustCompile(`^[a-z0-9./-]+:\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?$`)

func TestEveryImageHasAnExactVersion(t *testing.T) {
	t.Parallel()
	p := load(t)
	for name, s := range p.Services {
		if s.Build != nil {
			require.Equal(t, "patchbay:local", s.Image, name)
			continue
		}
		require.Regexp(t, pinned, s.Image, name)
	}
	tag := func(service string) string { _, t, _ := strings.Cut(p.Services[service].Image, ":"); return t }
	require.Equal(t, tag("temporal"), tag("temporal-schema"), "the schema is the server's")
	require.Equal(t, tag("temporal"), tag("temporal-namespace"))

	gomod := source(t, "go.mod")
	toolchain := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(gomod)[1]
	from := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(source(t, "Dockerfile"), -1)
	require.Len(t, from, 3)
	require.Equal(t, "golang:"+toolchain+"-alpine", from[0][1], "what go.mod names builds it")
	require.Regexp(t, pinned, from[1][1])
	require.Equal(t, "scratch", from[2][1], "nothing in the image but what is copied there")
}

func TestTheImageIsOneStaticBinaryThatRunsAsNobody(t *testing.T) {
	t.Parallel()
	dockerfile := source(t, "Dockerfile")
	for _, flag := range []string{"CGO_ENABLED=0 ", " -trimpath ", " timetzdata "} {
		require.Contains(t, dockerfile, flag)
	}
	_, final, _ := strings.Cut(dockerfile, "FROM scratch\n")
	require.Contains(t, final, "USER 65532:65532\n")
	require.Contains(t, final, `ENTRYPOINT ["/bin/patchbay"]`)
	require.NotContains(t, final, "RUN ", "nothing in the image could run it")
	for _, name := range []string{"sandbox", "worker", "serve"} {
		probe := load(t).Services[name].HealthCheck.Test[1]
		require.Contains(t, final, " "+probe+"\n", "%s is asked by a program that is in the image", name)
	}
}

func TestEveryCommandInTheComposeFileIsOneOfTheBinary(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "patchbay")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "patchbay")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	help := func(args ...string) (string, error) {
		b, err := exec.CommandContext(t.Context(), binary, append(args, "--help")...).CombinedOutput()
		return string(b), err
	}
	ours := 0
	for name, s := range load(t).Services {
		if s.Build == nil {
			continue
		}
		ours++
		command := map[string]string{"fleet": "worker"}[name]
		if command == "" {
			command = name
		}
		require.Equal(t, command, s.Command[0], "the service is called as its command")
		// The flags before --help are read, with their values, and nothing is run.
		flags := slices.DeleteFunc(slices.Clone(s.Command), func(arg string) bool { return strings.HasPrefix(arg, "/") })
		text, err := help(flags...)
		require.NoError(t, err, "%s: %s", name, text)
		require.Contains(t, text, "patchbay "+command)
		for _, arg := range s.Command[1:] {
			if flag, _, isFlag := strings.Cut(arg, "="); isFlag {
				require.Regexp(t, regexp.QuoteMeta(flag)+`\b`, text)
			}
		}
		text, err = help(append(flags, "--no-such-flag")...)
		require.Error(t, err, "a wrong flag would have been noticed: %s", text)
	}
	require.Equal(t, 5, ours)
}

// One list of settings, kept in two forms: the server of production, and the one that developers and tests run.
func TestTheServerIsToldWhatTheDevelopmentServerIsTold(t *testing.T) {
	t.Parallel()
	var want []string
	args := devenv.TemporalServer{}.Args()
	for i, arg := range args {
		if arg == "--dynamic-config-value" {
			name, value, _ := strings.Cut(args[i+1], "=")
			want = append(want, name+": [{ value: "+value+" }]")
		}
	}
	var have []string
	for line := range strings.Lines(source(t, "deploy/temporal/dynamic.yaml")) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			have = append(have, line)
		}
	}
	require.ElementsMatch(t, want, have)
}

func TestSecretsAreMadeOnceAndReadableByTheContainersAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "secrets")
	run := func() string {
		out, err := exec.CommandContext(t.Context(), filepath.Join(root, "deploy/make-secrets"), dir).Output()
		require.NoError(t, err)
		return string(out)
	}
	first := run()
	require.Regexp(t, `: [0-9a-f]{48}\n$`, first, "the key, this once")
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), "of this host, one user")
	before := map[string]string{}
	for name := range load(t).Secrets {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err, "docker-compose.yml wants it")
		before[name] = string(b)
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o644), info.Mode().Perm(), "%s is mounted as it is, for another user", name)
	}
	_, key, _ := strings.Cut(strings.TrimSpace(first), ": ")
	require.NotContains(t, before["keys"], key)
	require.Empty(t, run(), "nothing was made")
	for name, content := range before {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, content, string(b))
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	out, err := filepath.Abs(filepath.Join(root, path))
	require.NoError(t, err)
	return out
}
