package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// tellDatabase puts what the server showed into words.
func (r *Report) tellDatabase(s *Story) {
	s.Server = true
	for _, f := range r.Database.Findings {
		args := make([]any, len(f.Args))
		for i, a := range f.Args {
			args[i] = shorten(a, 120)
		}
		s.Findings = append(s.Findings, Line{Weight: f.Weight, Text: say(s.Lang, "f_"+f.Check, args...), Fix: f.Fix})
	}
	slices.SortStableFunc(s.Findings, func(a, b Line) int { return b.Weight - a.Weight })
	if len(s.Findings) > 0 {
		s.Verdict = append(s.Verdict, say(s.Lang, "verdict_database", fmt.Sprint(len(s.Findings)), s.Findings[0].Text))
	} else {
		s.Verdict = append(s.Verdict, say(s.Lang, "database")+": "+say(s.Lang, "database_clean"))
	}
	s.Facts = r.Database.facts(s.Lang)
	for _, skip := range r.Database.Skipped {
		s.Unknown = append(s.Unknown, Line{Text: say(s.Lang, "skipped", skip.Check, skip.tell(s.Lang))})
	}
	if !r.Database.Monitor {
		s.Unknown = append(s.Unknown, Line{Text: say(s.Lang, "fact_rights"), Fix: "GRANT pg_monitor TO " + quoteName(r.Database.Role) + ";"})
	}
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// tell gives the reason in the reader's language where it is one of ours.
func (s Skipped) tell(lang string) string {
	if s.why != "" {
		return say(lang, s.why)
	}
	return s.Reason
}

// facts are what anybody wants to know of a server, whether or not it is bad.
func (r *DatabaseReport) facts(lang string) []string {
	out := []string{"PostgreSQL " + r.Version + ", " + r.Name}
	if level, elsewhere := r.isolation(); level != "" {
		if elsewhere == "" {
			elsewhere = say(lang, "nowhere")
		}
		out = append(out, say(lang, "fact_isolation", level, elsewhere))
	}
	for _, row := range r.rows("rates") {
		if row["since"] == "" {
			row["since"] = say(lang, "the_beginning")
		}
		out = append(out, say(lang, "fact_rates", row["commits"], row["rollbacks"], row["rollback_percent"], row["deadlocks"], row["temp_files"],
			row["since"]))
	}
	for _, row := range r.rows("connections") {
		out = append(out, say(lang, "fact_connections", row["used"], row["allowed"], row["active"], row["idle"], row["idle_in_transaction"]))
	}
	return out
}

// isolation gives the server's default level, and who has another: "shop@prod repeatable read".
func (r *DatabaseReport) isolation() (server, elsewhere string) {
	var others []string
	for _, row := range r.rows("isolation") {
		level, ok := strings.CutPrefix(row["setting"], "default_transaction_isolation=")
		switch {
		case !ok:
		case row["scope"] == "server":
			server = level
		case row["scope"] == "session": // set for the role that asks; it hides the server's own
			server = "?"
		default:
			others = append(others, whose(row)+" "+level)
		}
	}
	return server, strings.Join(others, ", ")
}
