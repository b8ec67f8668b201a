// Package deploy tests what an installation is made of: docker-compose.yml, the
// Dockerfile and the files of deploy/.
//
// It holds tests only. They read the compose file by the library that Docker
// Compose itself is built on, and hold every command in it against the binary.
// Whether the processes work together, internal/e2e shows: it runs the same
// topology with the same files, without containers.
//
// Invariants: every image has an exact version; no process runs as root, writes
// to its image or gains a capability; no secret is written out; nothing is
// published beyond loopback; every server has a health check, and whoever needs
// it waits for it.
package deploy
