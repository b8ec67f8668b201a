//go:build !race

package app

const raced = 1
