// Package testpb holds the messages that tests write and read.
package testpb

//go:generate go run ../genproto common/money.proto order.proto
