package pgretrysql_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"

	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
	"github.com/concord-home/concord/pgretry/pgretrysql"
)

func ExampleDo() {
	ctx := context.Background()
	url, err := pgtest.Server()
	if err != nil {
		log.Fatal(err)
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // the table is temporary: only its own connection sees it
	if _, err := db.Exec(`create temporary table account (id int primary key, balance int); insert into account values (1, 100)`); err != nil {
		log.Fatal(err)
	}

	var left int
	err = pgretrysql.Do(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, `select balance from account where id = 1`).Scan(&left); err != nil {
			return err
		}
		left -= 30
		_, err := tx.ExecContext(ctx, `update account set balance = $1 where id = 1`, left)
		return err
	}, pgretry.WithName("withdraw"))
	fmt.Println(left, err)
	// Output: 70 <nil>
}
