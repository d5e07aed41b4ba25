// Package v1 holds a message in its version 1. Both versions have one name, as they have in
// two programs: whoever links both must set GOLANG_PROTOBUF_REGISTRATION_CONFLICT=ignore.
package v1

//go:generate go run ../../../genproto visit.proto
