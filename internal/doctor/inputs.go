package doctor

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/concord-home/concord/internal/pglog"
)

// Inputs turns the arguments of the command line into inputs. A directory stands for every file below it, hidden ones
// left out. An input is named by its base name; where two share it, by its path relative to the argument, and by the
// whole path where even that is not enough.
func Inputs(arguments []string) ([]pglog.Input, error) {
	var found []found
	for _, argument := range arguments {
		more, err := expand(argument)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return named(found), nil
}

// found is a file and the argument that led to it.
type found struct {
	path     string
	relative string
}

func expand(argument string) ([]found, error) {
	if argument == "-" {
		return []found{{path: "-", relative: "-"}}, nil
	}
	info, err := os.Stat(argument)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", argument, err)
	}
	if !info.IsDir() {
		return []found{{path: argument, relative: argument}}, nil
	}
	var out []found
	err = filepath.WalkDir(argument, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := path != argument && strings.HasPrefix(entry.Name(), ".")
		if entry.IsDir() {
			if hidden {
				return filepath.SkipDir
			}
			return nil
		}
		if hidden || !entry.Type().IsRegular() && entry.Type()&fs.ModeSymlink == 0 {
			return nil
		}
		relative, err := filepath.Rel(argument, path)
		if err != nil {
			return err
		}
		out = append(out, found{path: path, relative: relative})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", argument, err)
	}
	return out, nil
}

func named(list []found) []pglog.Input {
	bases, relatives := map[string]int{}, map[string]int{}
	for _, f := range list {
		bases[filepath.Base(f.path)]++
		relatives[f.relative]++
	}
	out := make([]pglog.Input, 0, len(list))
	for _, f := range list {
		name := filepath.Base(f.path)
		if bases[name] > 1 {
			name = f.relative
		}
		if relatives[name] > 1 && name == f.relative {
			name = f.path
		}
		in := pglog.Input{Path: f.path, Name: filepath.ToSlash(name)}
		if !slices.ContainsFunc(out, func(o pglog.Input) bool { return o.Path == in.Path }) {
			out = append(out, in)
		}
	}
	return out
}
