package house_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/devenv"
	"patchbay/internal/house"
)

const root = "../.."

func TestPackagesImportOnlyWhatTheHouseAllows(t *testing.T) {
	t.Parallel()
	packages, err := house.List(t.Context(), root)
	require.NoError(t, err)
	require.NotEmpty(t, packages)
	var lines []string
	for _, violation := range house.CheckImports(house.Table, packages) {
		lines = append(lines, violation.String())
	}
	clean(t, lines)
}

func TestNoFileIsLongerThan500Lines(t *testing.T) {
	t.Parallel()
	clean(t, house.TooLong(sources(t)))
}

func TestNothingRegistersItselfInInit(t *testing.T) {
	t.Parallel()
	clean(t, house.Registrations(sources(t)))
}

func TestNothingSleeps(t *testing.T) {
	t.Parallel()
	clean(t, house.Sleeps(sources(t)))
}

func TestNothingIsLeftOver(t *testing.T) {
	t.Parallel()
	clean(t, house.LeftOvers(sources(t)))
}

func TestNoPackageIsADrawer(t *testing.T) {
	t.Parallel()
	clean(t, house.Drawers(sources(t)))
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	clean(t, house.Undescribed(sources(t)))
}

// The script cannot import the constant; what it builds would then lie where nobody looks.
func TestTheTemporalThatGetsInstalledIsTheOneThatIsLookedFor(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join(root, "tools/install"))
	require.NoError(t, err)
	require.Contains(t, string(script), "temporal_version="+devenv.TemporalVersion+"\n")
}

// A reader copies what the README shows; it has to be what runs, apart from the comments.
func TestReadmeShowsTheFlowAsItIs(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(readme), "```yaml\n")
	require.True(t, found, "the README shows a flow")
	shown, _, _ := strings.Cut(rest, "```")
	file, err := os.ReadFile(filepath.Join(root, "flows/product-specs.yaml"))
	require.NoError(t, err)
	require.Equal(t, uncommented(string(file)), uncommented(shown))
}

func uncommented(yaml string) (lines []string) {
	for line := range strings.Lines(yaml) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		line, _, _ = strings.Cut(line, " #")
		if line = strings.TrimRight(line, " \n"); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

func sources(t *testing.T) []house.File {
	t.Helper()
	dir, err := filepath.Abs(root)
	require.NoError(t, err)
	files, err := house.Sources(dir)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

// clean fails with all lines at once: whoever broke a rule in three places wants to know all three.
func clean(t *testing.T, lines []string) {
	t.Helper()
	if len(lines) > 0 {
		t.Errorf("%d broken:\n%s", len(lines), strings.Join(lines, "\n"))
	}
}
