//go:build race

package app

// raced is how many times as much the race detector has a program allocate, at most.
const raced = 2
