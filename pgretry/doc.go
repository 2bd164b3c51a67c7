// Package pgretry runs a PostgreSQL transaction, and runs it again when that is right.
//
//	err := pgretry.Do(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
//		var balance int
//		if err := tx.QueryRow(ctx, `select balance from account where id = $1`, id).Scan(&balance); err != nil {
//			return err
//		}
//		_, err := tx.Exec(ctx, `update account set balance = $2 where id = $1`, id, balance-amount)
//		return err
//	})
//
// PostgreSQL answers a transaction that met another one with SQLSTATE 40001 or 40P01 and asks the application to run
// the whole transaction again, with the logic that decided what to write. [Do] does that: each attempt is a new
// transaction with a new snapshot, at REPEATABLE READ unless told otherwise.
package pgretry
