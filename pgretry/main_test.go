package pgretry_test

import (
	"os"
	"testing"

	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
