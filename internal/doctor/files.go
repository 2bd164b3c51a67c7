package doctor

import (
	"fmt"
	"strings"

	"github.com/concord-home/concord/internal/pglog"
)

// describeFile tells how a file was read.
func describeFile(lang string, f *pglog.FileInfo) string {
	if f.Err != nil {
		return f.Name
	}
	parts := []string{f.Name, f.Format}
	if len(f.Carriers) > 0 {
		parts = append(parts, strings.Join(f.Carriers, "+"))
	}
	for _, p := range f.Prefixes[:min(len(f.Prefixes), 3)] {
		parts = append(parts, fmt.Sprintf("%q", p))
	}
	return strings.Join(append(parts, say(lang, "lines", count(f.Lines))), ", ")
}
