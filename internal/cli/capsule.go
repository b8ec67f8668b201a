package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/app"
	"patchbay/internal/fault"
)

// devCapsuleKey is where `patchbay dev` keeps the public key that its capsules are verified with.
const devCapsuleKey = ".patchbay/capsule.pem.pub"

func capsuleCommand() *cli.Command {
	keys := &cli.StringSliceFlag{Name: "key", Usage: "`FILE` of a public key (PEM) that is trusted; may be repeated (default: " + devCapsuleKey + ", where there is one)"}
	printed := &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	c := &cli.Command{
		Name:  "capsule",
		Usage: "the sealed record of a decision: take it out, verify it, compute it again",
		Commands: []*cli.Command{
			{
				Name: "export", Usage: "write the capsule of a run", ArgsUsage: "RUN", Action: exportCapsule,
				Flags: append(serverFlags(), &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` to write (default: standard output)"}),
			},
			{
				Name: "verify", Usage: "say whether a capsule is as it was sealed, and by a key that is trusted", ArgsUsage: "FILE", Action: verifyCapsule,
				Flags: []cli.Flag{keys, printed},
			},
			{
				Name: "rerun", Usage: "compute everything in a capsule again, offline, and compare bit for bit", ArgsUsage: "FILE", Action: rerunCapsule,
				Description: "The calculators are those of this program, the rules those in the capsule. With a trusted key the capsule is verified first.",
				Flags:       []cli.Flag{keys, printed},
			},
		},
		Action: func(_ context.Context, c *cli.Command) error {
			return usage("say export RUN, verify FILE or rerun FILE; patchbay capsule --help says more")
		},
	}
	for _, below := range c.Commands {
		below.OnUsageError = misused
	}
	return c
}

func exportCapsule(ctx context.Context, c *cli.Command) error {
	if c.Args().Len() != 1 {
		return usage("name one run, for example: patchbay capsule export RUN -o decision.capsule")
	}
	r, err := dial(c)
	if err != nil {
		return err
	}
	_, file, err := r.exchange(ctx, http.MethodGet, "/v1/runs/"+url.PathEscape(c.Args().First())+"/capsule", nil, nil)
	if err != nil {
		return err
	}
	if name := c.String("output"); name != "" {
		if err := os.WriteFile(name, file, 0o600); err != nil { // it holds personal data
			return usage("%s cannot be written: %s", name, unwrapped(err))
		}
		fmt.Fprintf(c.Root().ErrWriter, "%s holds the capsule of %s.\n", name, c.Args().First())
		return nil
	}
	_, err = c.Root().Writer.Write(file)
	return err
}

func verifyCapsule(_ context.Context, c *cli.Command) error {
	file, err := capsuleFile(c)
	if err != nil {
		return err
	}
	keys := trusted(c)
	if len(keys) == 0 {
		return usage("name the public key that is trusted: --key FILE; GET /v1/capsule-key of the Patchbay that sealed it gives it")
	}
	found, err := app.VerifyCapsule(file, keys...)
	return judged(c, capsuleAnswer{Verified: err == nil}, found.Run, found.Flow, found.Decision.Outcome, found.Decision.At, err)
}

func rerunCapsule(ctx context.Context, c *cli.Command) error {
	file, err := capsuleFile(c)
	if err != nil {
		return err
	}
	answer := capsuleAnswer{Verified: true}
	found, err := app.ReadCapsule(file)
	if keys := trusted(c); len(keys) > 0 {
		found, err = app.VerifyCapsule(file, keys...)
	} else {
		answer.Verified = false
	}
	if err != nil {
		answer.Verified = false
	} else if err = app.RerunCapsule(ctx, found); err == nil {
		answer.Equal, answer.Computed = true, len(found.Computed)
	}
	return judged(c, answer, found.Run, found.Flow, found.Decision.Outcome, found.Decision.At, err)
}

// capsuleAnswer is what verify and rerun print with --json.
type capsuleAnswer struct {
	Run      string          `json:"run,omitempty"`
	Flow     string          `json:"flow,omitempty"`
	Decision string          `json:"decision,omitempty"`
	At       *time.Time      `json:"at,omitempty"`
	Verified bool            `json:"verified"`           // by a trusted key
	Equal    bool            `json:"equal"`              // all of it gave the same again
	Computed int             `json:"computed,omitempty"` // computations that were done again
	Problem  *capsuleProblem `json:"problem,omitempty"`
}

type capsuleProblem struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func judged(c *cli.Command, a capsuleAnswer, run, flow, decision string, at time.Time, err error) error {
	if err == nil || run != "" {
		a.Run, a.Flow, a.Decision, a.At = run, flow, decision, &at
	}
	if err != nil {
		f := fault.Of(err)
		a.Problem = &capsuleProblem{Code: f.Code, Detail: f.Text}
	}
	if c.Bool("json") {
		if printed := printJSON(c.Root().Writer, a); printed != nil {
			return printed
		}
		return err
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Root().Writer, "%s: %s, decided %s by run %s.\n", plain(a.Flow), plain(a.Decision), at.Format(time.RFC3339), plain(a.Run))
	if a.Verified {
		fmt.Fprintln(c.Root().Writer, "It is as it was sealed, by a trusted key.")
	} else {
		fmt.Fprintln(c.Root().Writer, "Who sealed it was not looked at: give --key FILE.")
	}
	if a.Equal {
		fmt.Fprintf(c.Root().Writer, "All of it gives the same again: %d computations, bit for bit, and the rules.\n", a.Computed)
	}
	return nil
}

func capsuleFile(c *cli.Command) ([]byte, error) {
	if c.Args().Len() != 1 {
		return nil, usage("name one file, as patchbay capsule export RUN -o FILE writes it")
	}
	b, err := os.ReadFile(c.Args().First())
	if err != nil {
		return nil, usage("%s cannot be read: %s", c.Args().First(), unwrapped(err))
	}
	return b, nil
}

// trusted are the keys that were given, else that of the patchbay dev of this directory.
func trusted(c *cli.Command) []string {
	if given := c.StringSlice("key"); len(given) > 0 {
		return given
	}
	if _, err := os.Stat(devCapsuleKey); err == nil {
		return []string{devCapsuleKey}
	}
	return nil
}

// unwrapped is the reason in an error of a file, without its path.
func unwrapped(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
