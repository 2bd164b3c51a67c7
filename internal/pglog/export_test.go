package pglog

// Careful makes the reading look at every line in full, as a reference for the quick ways.
func Careful(o Options) Options {
	o.careful = true
	return o
}
