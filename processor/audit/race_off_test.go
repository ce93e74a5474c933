//go:build !race

package audit

const thin = 1
