// Package registry is a client of a Schema Registry that speaks Confluent's REST
// API (Confluent's own, Apicurio's ccompat, Karapace, Redpanda). It registers
// schemas, looks ids up and keeps what it learned.
//
// Errors come with the class that a pipeline acts on. A registry that does not
// answer is marked with pipeline.Retriable: the records wait. Wrong credentials
// and refused schemas are marked with pipeline.Fatal. An unknown id bears no
// mark: it is the error of the record that names it.
package registry
