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
// left out; one without any file is an error. What cannot be opened becomes an input too, so that the others are read
// and this one is named. An input is named by its base name; where two share it, by its path relative to the argument
// (where each is an argument, by the end of its path that tells them apart), and by the whole path where even that is not
// enough.
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
	info, err := os.Stat(argument)
	if argument == "-" || err != nil || !info.IsDir() {
		return []found{{path: argument, relative: argument}}, nil
	}
	var out []found
	err = filepath.WalkDir(argument, func(path string, entry fs.DirEntry, err error) error {
		if entry == nil {
			return err
		}
		hidden := path != argument && strings.HasPrefix(entry.Name(), ".")
		switch {
		case hidden && entry.IsDir():
			return filepath.SkipDir
		case hidden, err == nil && !isFile(path, entry):
			return nil
		}
		relative, relErr := filepath.Rel(argument, path)
		if relErr != nil {
			return relErr
		}
		out = append(out, found{path: path, relative: relative})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", argument, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read %s: the directory holds no file", argument)
	}
	return out, nil
}

// isFile tells a file, or a link to one, from directories, sockets and devices. A link that leads nowhere counts: it is
// named as what could not be read.
func isFile(path string, entry fs.DirEntry) bool {
	if entry.Type()&fs.ModeSymlink == 0 {
		return entry.Type().IsRegular()
	}
	info, err := os.Stat(path)
	return err != nil || info.Mode().IsRegular()
}

// distinct gives the shortest end of a path that no other one has: two files of one name, each an argument, are told
// apart by their directories.
func distinct(path string, list []found) string {
	parts := strings.Split(filepath.ToSlash(path), "/")
	for n := 2; n < len(parts); n++ {
		end := "/" + strings.Join(parts[len(parts)-n:], "/")
		other := func(f found) bool { return f.path != path && strings.HasSuffix("/"+filepath.ToSlash(f.path), end) }
		if !slices.ContainsFunc(list, other) {
			return end[1:]
		}
	}
	return path
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
			if f.relative == f.path {
				name = distinct(f.path, list)
			}
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
