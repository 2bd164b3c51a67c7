# make run      builds and starts everything; make test checks everything.
# docs/ARCHITECTURE.md says more.

GO      ?= go
MODULES  = $(patsubst %/,%,$(dir $(shell git ls-files go.mod "*/go.mod")))

.PHONY: run build test short lint tools soak bench

run: build
	@bin/concord serve

build:
	@mkdir -p bin
	@$(GO) build -trimpath -o bin/concord ./cmd/concord

# Everything: format, lint, every test. Installs what is missing where it can.
test: tools lint
	@./test/run

# The tests that need no database, browser or network: seconds.
short:
	@for m in $(MODULES); do (cd $$m && $(GO) test -short ./...) || exit 1; done

lint:
	@./test/lint $(MODULES)

tools:
	@./test/tools

# Faults and conflicts, for long.
soak:
	@./test/soak

# Benchmarks, each beside a limit or a peer of the same run.
bench: build
	@./bench/run
