package devenv

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChildThatCannotBeRecordedNeverRuns(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "mark")
	var seen identity
	_, err := launch(spec{path: "/usr/bin/touch", args: []string{mark}}, nil, func(id identity) error {
		require.True(t, id.alive())
		seen = id
		return errors.New("the disk is full")
	})
	require.Error(t, err)
	require.True(t, seen.awaitEnd(t.Context()))
	require.NoFileExists(t, mark)
}

func TestIdentityIsMoreThanAPid(t *testing.T) {
	t.Parallel()
	started, running := startTime(os.Getpid())
	require.True(t, running)
	require.True(t, identity{os.Getpid(), started}.alive())
	require.False(t, identity{os.Getpid(), started + "0"}.alive())
	require.False(t, identity{0, ""}.alive())
}

func TestPasswordSurvivesTheColonsOfItsFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pass")
	require.NoError(t, writePassword(path, owner, `a:b\c`))
	password, err := readPassword(path, "")
	require.NoError(t, err)
	require.Equal(t, `a:b\c`, password)
}
