// The path lies below pgretry so that the benchmark may use its internal/pgtest. Nobody imports this module.
module github.com/concord-home/concord/pgretry/bench

go 1.26.0

replace github.com/concord-home/concord/pgretry => ../../pgretry

require (
	github.com/cockroachdb/cockroach-go/v2 v2.4.2
	github.com/concord-home/concord/pgretry v0.0.0-00010101000000-000000000000
	github.com/failsafe-go/failsafe-go v0.9.8
	github.com/jackc/pgx/v5 v5.12.0
)

require (
	github.com/bits-and-blooms/bitset v1.24.4 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)
