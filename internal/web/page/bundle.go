package page

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// bundlePath is the file that holds app.js and every module that it imports, in
// one request: on a slow processor each further file costs as much as a card.
const bundlePath = "app.bundle.js"

// bundle puts modules together: each becomes a function that returns what the
// module exports, called once, in the order of the imports. The sources remain
// what is written and read; only three forms of import and export are known,
// and bundling panics on another.
type bundle struct {
	files   map[string]asset
	names   map[string]string // bare specifier → file
	modules []string          // in order
	exports map[string][]string
	out     strings.Builder
}

var (
	importForm     = regexp.MustCompile(`\bimport\s*(\{[^}]*\}|\*\s*as\s+\w+)\s*from\s*"([^"]+)";?`)
	exportForm     = regexp.MustCompile(`\bexport\s*\{([^}]*)\}(?:\s*from\s*"([^"]+)")?;?`)
	exportDeclared = regexp.MustCompile(`(?m)^export ((?:async )?function|class|const) ([\w$]+)`)
	otherForm      = regexp.MustCompile(`(?m)^(import|export)\b[^(.].*`)
	renamed        = regexp.MustCompile(`([\w$]+)\s+as\s+([\w$]+)`)
)

// newBundle returns the bundle of the module and of what it imports.
func newBundle(entry string, files map[string]asset, names map[string]string) *bundle {
	b := &bundle{files: files, names: names, exports: map[string][]string{}}
	b.add(entry)
	b.exportOwn()
	return b
}

// add appends the module behind those that it imports.
func (b *bundle) add(file string) {
	if slices.Contains(b.modules, file) {
		return
	}
	source := withoutComments(string(b.files[file].body))
	for _, m := range importForm.FindAllStringSubmatch(source, -1) {
		b.add(b.resolve(file, m[2]))
	}
	b.modules = append(b.modules, file)
	returns := &[]string{}
	source = importForm.ReplaceAllStringFunc(source, func(text string) string { return b.imported(file, text) })
	source = exportForm.ReplaceAllStringFunc(source, func(text string) string { return b.exported(file, text, returns) })
	source = exportDeclared.ReplaceAllStringFunc(source, func(text string) string {
		m := exportDeclared.FindStringSubmatch(text)
		b.export(file, m[2])
		*returns = append(*returns, m[2])
		return m[1] + " " + m[2]
	})
	if other := otherForm.FindString(source); other != "" {
		panic("page: " + file + " cannot be bundled: " + other)
	}
	fmt.Fprintf(&b.out, "const %s=(()=>{%s\nreturn{%s}})();\n", variable(file), source, strings.Join(*returns, ","))
}

// resolve returns the file that a module names in an import.
func (b *bundle) resolve(from, name string) string {
	file, ok := b.names[name]
	if !ok {
		file = path.Join(path.Dir(from), name)
	}
	if _, ok := b.files[file]; !ok {
		panic("page: " + from + " imports " + name + ", which is nowhere")
	}
	return file
}

func (b *bundle) imported(file, text string) string {
	m := importForm.FindStringSubmatch(text)
	target := strings.TrimSpace(strings.TrimPrefix(m[1], "*"))
	if name, all := strings.CutPrefix(target, "as "); all {
		target = name
	}
	return fmt.Sprintf("const %s=%s;", renamed.ReplaceAllString(target, "$1:$2"), variable(b.resolve(file, m[2])))
}

// exported notes what an export list returns; the list itself goes.
func (b *bundle) exported(file, text string, returns *[]string) string {
	m := exportForm.FindStringSubmatch(text)
	prefix := ""
	if m[2] != "" {
		prefix = variable(b.resolve(file, m[2])) + "."
	}
	for part := range strings.SplitSeq(m[1], ",") {
		part = strings.TrimSpace(part)
		inner, outer := part, part
		if as := renamed.FindStringSubmatch(part); as != nil {
			inner, outer = as[1], as[2]
		}
		b.export(file, outer)
		*returns = append(*returns, outer+":"+prefix+inner)
	}
	return ""
}

func (b *bundle) export(file, name string) { b.exports[file] = append(b.exports[file], name) }

// exportOwn has the bundle export what modules outside of it may import: what
// ours export, and lit-html. A name must be of one module.
func (b *bundle) exportOwn() {
	seen := map[string]string{}
	for _, file := range b.modules {
		if !b.shared(file) || len(b.exports[file]) == 0 {
			continue
		}
		for _, name := range b.exports[file] {
			if other, taken := seen[name]; taken {
				panic("page: both " + other + " and " + file + " export " + name)
			}
			seen[name] = file
		}
		fmt.Fprintf(&b.out, "export const{%s}=%s;\n", strings.Join(b.exports[file], ","), variable(file))
	}
}

func (b *bundle) shared(file string) bool {
	return !strings.HasPrefix(file, "vendor/") || file == b.names["lit-html"]
}

// variable is the name of a module within the bundle.
func variable(file string) string {
	return "$" + strings.NewReplacer("/", "_", "-", "_", ".", "_").Replace(file)
}

// withoutComments takes away indentation, and the comments that begin a line.
func withoutComments(source string) string {
	var lines []string
	inside := false
	for line := range strings.Lines(source) {
		line = strings.TrimSpace(line)
		if inside = inside || strings.HasPrefix(line, "/*"); inside {
			if _, rest, ends := strings.Cut(line, "*/"); ends {
				line, inside = rest, false
			}
		}
		if !inside && line != "" && !strings.HasPrefix(line, "//") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
