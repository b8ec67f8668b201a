// Package fused is what the compiler may fuse: the test looks whether it finds that here.
package fused

// Sum has no conversion that would round the product.
func Sum(a, b, c float64) float64 { return a*b + c }
