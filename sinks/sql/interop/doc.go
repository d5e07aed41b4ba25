// Package interop shows that the SQL sink and the SQL table keep their promises on real
// databases: SQLite, and with the build tag real the PostgreSQL that LEAT_TEST_POSTGRES
// names; scripts/test-sql starts one. It is a module of its own, so that its drivers are not
// those of Leat's users.
package interop
