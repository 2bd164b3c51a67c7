package pgretry_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
	"github.com/concord-home/concord/pgretry/pgretrytest"
)

// examplePool returns a pool whose tables are temporary, so that its one connection is the only one to see them.
func examplePool(ctx context.Context, tables string) *pgxpool.Pool {
	url, err := pgtest.Server()
	if err != nil {
		log.Fatal(err)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		log.Fatal(err)
	}
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := pool.Exec(ctx, tables); err != nil {
		log.Fatal(err)
	}
	return pool
}

func ExampleDo() {
	ctx := context.Background()
	pool := examplePool(ctx, `create temporary table account (id int primary key, balance int); insert into account values (1, 100)`)
	defer pool.Close()

	var left int
	err := pgretry.Do(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
		// Read what decides inside the closure: a further attempt must decide anew.
		if err := tx.QueryRow(ctx, `select balance from account where id = 1`).Scan(&left); err != nil {
			return err
		}
		left -= 30
		_, err := tx.Exec(ctx, `update account set balance = $1 where id = 1`, left)
		return err
	}, pgretry.WithName("withdraw"))
	// Act on the result here, once, after the commit.
	fmt.Println(left, err)
	// Output: 70 <nil>
}

// An error of the closure comes back as it is, after a rollback.
func ExampleDo_error() {
	ctx := context.Background()
	pool := examplePool(ctx, `select 1`)
	defer pool.Close()

	errShort := errors.New("not enough money")
	err := pgretry.Do(ctx, pool, func(context.Context, pgx.Tx) error { return errShort })
	fmt.Println(err == errShort)
	// Output: true
}

// The first error of a transaction decides, whatever the closure makes of it.
func ExampleError() {
	ctx := context.Background()
	pool := examplePool(ctx, `create temporary table room (id int primary key); insert into room values (1)`)
	defer pool.Close()

	errTaken := errors.New("room exists")
	err := pgretry.Do(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `insert into room values (1)`); err != nil {
			return errTaken
		}
		return nil
	})
	var e *pgretry.Error
	fmt.Println(errors.As(err, &e), e.SQLSTATE, e.Attempts, errors.Is(err, errTaken))
	// Output: true 23505 1 true
}

// A key chosen after reading: two that read the same maximum choose the same key, and one meets 23505. Here, and only
// here, running again helps, so this call opts in. Attempts that end so are bounded by Policy.MaxOptional.
func ExampleWithRetryOn() {
	ctx := context.Background()
	pool := examplePool(ctx, `create temporary table invoice (number int primary key); insert into invoice values (41)`)
	defer pool.Close()

	db := pgretrytest.NewForce(pool).Fail(1, "23505", pgretrytest.AtStatement) // as if another took 42 first
	var number int
	err := pgretry.Do(ctx, db, func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `select max(number) + 1 from invoice`).Scan(&number)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `insert into invoice values ($1)`, number)
		return err
	}, pgretry.WithRetryOn("23505"))
	fmt.Println(number, err, db.Attempts())
	// Output: 42 <nil> 2
}

func ExampleWithKey() {
	ctx := context.Background()
	pool := examplePool(ctx, `create temporary table stock (item int primary key, n int); insert into stock values (7, 100)`)
	defer pool.Close()

	runner := pgretry.New(pgretry.WithName("sell"))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			err := runner.Do(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `update stock set n = n - 1 where item = 7`)
				return err
			}, pgretry.WithKey("item 7"))
			if err != nil {
				log.Print(err)
			}
		})
	}
	wg.Wait()
	var n int
	err := pool.QueryRow(ctx, `select n from stock where item = 7`).Scan(&n)
	fmt.Println(n, err)
	// Output: 80 <nil>
}

func ExampleCoalesce() {
	ctx := context.Background()
	pool := examplePool(ctx, `create temporary table visits (n bigint); insert into visits values (0)`)
	defer pool.Close()

	visits := pgretry.Coalesce(pool, func(ctx context.Context, tx pgx.Tx, added []int) ([]struct{}, error) {
		sum := 0
		for _, n := range added {
			sum += n
		}
		_, err := tx.Exec(ctx, `update visits set n = n + $1`, sum)
		return make([]struct{}, len(added)), err
	})
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if _, err := visits.Do(ctx, 1); err != nil {
				log.Print(err)
			}
		})
	}
	wg.Wait()
	var n int
	err := pool.QueryRow(ctx, `select n from visits`).Scan(&n)
	fmt.Println(n, err)
	// Output: 1000 <nil>
}

func ExampleBatch_Upsert() {
	ctx := context.Background()
	pool := examplePool(ctx, `create temporary table sensor (id text primary key, value int check (value >= 0))`)
	defer pool.Close()

	sensors := &pgretry.Batch{Table: pgx.Identifier{"sensor"}, Columns: []string{"id", "value"}, Key: []string{"id"}}
	result, err := sensors.Upsert(ctx, pool, [][]any{{"door", 1}, {"window", -1}, {"lamp", 0}})
	fmt.Println(err, result.Created, result.Failed)
	fmt.Println(result.Records[1].Err)
	// Output:
	// <nil> 2 1
	// violates check constraint "sensor_value_check" (SQLSTATE 23514)
}
