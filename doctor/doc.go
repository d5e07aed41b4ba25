// Package doctor looks at a Kafka cluster before a pipeline or a producer goes into
// production on it, and says what would lose records, refuse them or be slow, and what
// to change. It is what leat doctor runs; call [Check] from a deployment's test or
// from a program's start.
//
// It only asks: it writes no record, joins no group, creates nothing and changes
// nothing, and a cluster that is in use does not notice. What the user may not see is
// reported as [NotVisible] with the right that is missing, never as fine.
// docs/doctor.md has each check's rule and where it comes from.
package doctor
