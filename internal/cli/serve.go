package cli

import (
	"cmp"
	"context"
	"net/netip"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/fleet"
	"patchbay/internal/app"
	"patchbay/internal/config"
)

// productionFlags are shared by the processes of a production installation.
func productionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "database", Usage: "PostgreSQL `URL`, as text or as a reference such as ${file:PATH}; required", Sources: cli.EnvVars("PATCHBAY_DATABASE"), Required: true},
		&cli.StringFlag{Name: "temporal", Usage: "`HOST:PORT` of Temporal (default: the environment configuration of its SDK)"},
		&cli.StringFlag{Name: "namespace", Usage: "Temporal `NAMESPACE`"},
		regionFlag(),
		&cli.StringFlag{Name: "capsule-key", Usage: "`FILE` of the ed25519 private key (PKCS #8, PEM) that signs decisions of hybrid flows; serve and worker need the same", Sources: cli.EnvVars("PATCHBAY_CAPSULE_KEY")},
	}
}

// regionFlag says whose connections a process may dial.
func regionFlag() cli.Flag {
	return &cli.StringFlag{Name: "region", Usage: "`NAME` of the region that this process is of: it dials no connection of another", Sources: cli.EnvVars("PATCHBAY_REGION")}
}

func settings(c *cli.Command) (app.Settings, error) {
	database, err := config.Resolve(c.String("database"))
	if err != nil {
		return app.Settings{}, err
	}
	var key app.CapsuleKey
	if file := c.String("capsule-key"); file != "" {
		if key, err = app.LoadCapsuleKey(file); err != nil {
			return app.Settings{}, err
		}
	}
	return app.Settings{
		CapsuleKey: key,
		Database:   database, Temporal: c.String("temporal"), Namespace: c.String("namespace"), Region: c.String("region"), Speed: 1,
		Resolve: config.Resolve, Log: app.Logger(c.Root().ErrWriter, true, true),
	}, nil
}

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run API, console and relay of a production installation",
		Flags: append(productionFlags(),
			&cli.StringFlag{Name: "http", Value: "127.0.0.1:8080", Usage: "`HOST:PORT` to listen on"},
			&cli.StringFlag{Name: "keys", Usage: "`FILE` of bearer keys, a line each: name, SHA-256, role; required", Required: true},
			&cli.StringSliceFlag{Name: "host", Usage: "serve only this `HOST` header; may be repeated"},
			&cli.StringSliceFlag{Name: "proxy", Usage: "`NETWORK` of proxies whose X-Forwarded-For says who delivers a webhook; may be repeated"},
			&cli.StringFlag{Name: "ui", Usage: "`URL` of the Temporal Web UI, for links"},
			&cli.StringFlag{Name: "url", Usage: "`URL` at which people reach the console, for links from the Temporal Web UI"},
			&cli.IntFlag{Name: "fleet-batch-slots", Value: 2, Usage: "`NUMBER` of batch slots that all processes of the compute fleet have together: twice as many runs of hybrid flows that nobody waits for are under way"},
			&cli.StringFlag{Name: "environment", Value: "production", Usage: "`NAME` shown in the console"},
		),
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := noArguments(c); err != nil {
				return err
			}
			s, err := settings(c)
			if err != nil {
				return err
			}
			if s.Computing = c.Int("fleet-batch-slots"); s.Computing < 1 {
				return usage("--fleet-batch-slots is a number from 1")
			}
			keys, err := config.ReadKeys(c.String("keys"))
			if err != nil {
				return err
			}
			var proxies []netip.Prefix
			for _, text := range c.StringSlice("proxy") {
				one, err := network(text)
				if err != nil {
					return usage("--proxy %q is no address and no network such as 10.0.0.0/8", text)
				}
				proxies = append(proxies, one)
			}
			return app.Serve(ctx, s, app.Face{
				Keys: keys, Hosts: c.StringSlice("host"), Proxies: proxies, UI: c.String("ui"), Address: strings.TrimRight(c.String("url"), "/"), Environment: c.String("environment"), Version: version(),
			}, c.String("http"))
		},
	}
}

func workerCommand() *cli.Command {
	flags := productionFlags()
	for _, f := range flags {
		if database, is := f.(*cli.StringFlag); is && database.Name == "database" {
			database.Required = false
			database.Usage = strings.Replace(database.Usage, "required", "required unless --queues names compute queues alone", 1)
		}
	}
	return &cli.Command{
		Name:  "worker",
		Usage: "run a worker of a production installation",
		Description: "Without --queues it takes tasks of every queue. `patchbay worker --queues risk` only computes: it opens no database, reads no " +
			"connections and resolves no reference, and needs Temporal's address alone (docs/fleet.md).",
		Flags: append(flags,
			&cli.StringSliceFlag{Name: "queues", Usage: "`NAMES` of the task queues to take tasks from: " + app.MainQueue + ", and any others, which are compute queues such as risk", Sources: cli.EnvVars("PATCHBAY_QUEUES")},
			&cli.IntFlag{Name: "slots", Usage: "`NUMBER` of computations at a time in a compute queue (default: as many as processors)"},
			&cli.IntFlag{Name: "batch-slots", Usage: "`NUMBER` of those that nobody waits for, besides (default: half as many, at least one)"},
			&cli.StringFlag{Name: "http", Value: "127.0.0.1:8081", Usage: "`HOST:PORT` of /metrics, /healthz and /readyz, which ask for no key; empty: none"},
		),
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := noArguments(c); err != nil {
				return err
			}
			queues := c.StringSlice("queues")
			for _, q := range queues {
				if !queueName.MatchString(q) {
					return usage("--queues %q: a queue is named by small letters, digits and dashes, as in --queues risk", q)
				}
			}
			tuning := fleet.Tuning{Slots: c.Int("slots"), Batch: c.Int("batch-slots")}
			if tuning.Slots < 0 || tuning.Batch < 0 {
				return usage("--slots and --batch-slots are numbers from 1")
			}
			if len(queues) > 0 && !slices.Contains(queues, app.MainQueue) {
				return app.Compute(ctx, fleet.Options{
					Temporal: c.String("temporal"), Namespace: c.String("namespace"), Queues: queues, HTTP: c.String("http"), Tuning: tuning,
					Log: app.Logger(c.Root().ErrWriter, true, true),
				})
			}
			if c.String("database") == "" {
				return usage("--database is required by a worker of the queue %s; one that only computes, as with --queues risk, needs none", app.MainQueue)
			}
			s, err := settings(c)
			if err != nil {
				return err
			}
			return app.Work(ctx, s, app.Computes(queues), tuning, c.String("http"))
		},
	}
}

var queueName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

func applyCommand() *cli.Command {
	return &cli.Command{
		Name:      "apply",
		Usage:     "bring the schema up to date, put flows in force, make this build current",
		ArgsUsage: "[DIR]",
		Flags: append(productionFlags(),
			&cli.StringFlag{Name: "role", Value: app.ApplicationRole, Usage: "`NAME` of the database role that serve and worker use"},
			&cli.StringFlag{Name: "role-password", Usage: "its password, as a `REFERENCE` such as ${file:PATH}; without one no role is made"},
			&cli.StringSliceFlag{Name: "egress-password", Usage: "with --region: password of the role by which another region reads what this one exports, as `REGION=REFERENCE` such as fr=${file:PATH}; once for each", Sources: cli.EnvVars("PATCHBAY_EGRESS_PASSWORDS")},
			&cli.StringFlag{Name: "hooks", Usage: "`URL` at which sources reach the API of this installation, to have those deliver that can be told so; empty: none is told"},
			&cli.DurationFlag{Name: "wait", Value: 2 * time.Minute, Usage: "`TIME` to wait for a worker of this build"},
			&cli.IntFlag{Name: "ramp", Usage: "have only `PERCENT` of the new runs, 1 to 99, begin with this build, the others with the one that is current; 0 ends that"},
		),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Len() > 1 {
				return usage("apply takes one directory, not %d", c.Args().Len())
			}
			if c.Duration("wait") <= 0 {
				return usage("--wait %s: give a time such as 2m", c.Duration("wait"))
			}
			var ramp *int
			if c.IsSet("ramp") {
				percent := c.Int("ramp")
				if percent < 0 || percent > 99 {
					return usage("--ramp %d: give a percentage from 1 to 99, or 0 to end it; without --ramp this build takes all new runs", percent)
				}
				ramp = &percent
			}
			dir := cmp.Or(c.Args().First(), ownFlows)
			if !c.Args().Present() && !isDir(dir) {
				return usage("there is no ./%s here; give the directory of the flows: patchbay apply DIR", dir)
			}
			files, err := flowDir(dir)
			if err != nil {
				return err
			}
			s, err := settings(c)
			if err != nil {
				return err
			}
			password, err := config.Resolve(c.String("role-password"))
			if err != nil {
				return err
			}
			egress, err := egressPasswords(c)
			if err != nil {
				return err
			}
			by := os.Getenv("USER")
			if u, err := user.Current(); err == nil {
				by = u.Username
			}
			return app.Apply(ctx, s, app.ApplyOptions{
				Role: c.String("role"), Password: password, Egress: egress, Flows: files, FlowsName: dir, By: by,
				Wait: c.Duration("wait"), Ramp: ramp, Hooks: c.String("hooks"), Out: c.Root().ErrWriter,
			})
		},
	}
}

// egressPasswords reads the passwords of the roles of other regions. They are given as
// references: what stands in an argument list, every process of the machine may read
// (promise 9).
func egressPasswords(c *cli.Command) (map[string]string, error) {
	given := c.StringSlice("egress-password")
	if len(given) > 0 && c.String("region") == "" {
		return nil, usage("--egress-password is of the border of a region; give --region too")
	}
	passwords := map[string]string{}
	for _, text := range given {
		name, reference, found := strings.Cut(text, "=")
		if !found || name == "" || !config.IsReference(reference) {
			return nil, usage("--egress-password takes REGION=REFERENCE, such as fr=${file:PATH} or fr=${env:NAME}, and no password itself")
		}
		password, err := config.Resolve(reference)
		if err != nil {
			return nil, err
		}
		passwords[name] = password
	}
	return passwords, nil
}

// network reads an address or a network.
func network(text string) (netip.Prefix, error) {
	if at, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(at, at.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}
