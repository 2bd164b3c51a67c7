package page_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVendoredFilesAreAsFetched(t *testing.T) {
	t.Parallel()
	want := checksums(t)
	for name, sum := range want {
		body, err := os.ReadFile(name)
		require.NoError(t, err)
		got := sha256.Sum256(body)
		require.Equal(t, sum, hex.EncodeToString(got[:]), name)
	}
	require.NoError(t, filepath.WalkDir("static/vendor", func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			require.Contains(t, want, name, "not in vendor.sha256")
		}
		return err
	}))
}

func checksums(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open("vendor.sha256")
	require.NoError(t, err)
	defer f.Close()
	sums := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if sum, name, ok := strings.Cut(lines.Text(), "  "); ok && !strings.HasPrefix(sum, "#") {
			sums[name] = sum
		}
	}
	require.NotEmpty(t, sums)
	return sums
}
