package doctor_test

import (
	"testing"

	"github.com/concord-home/concord/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
