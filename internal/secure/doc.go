// Package secure is how connections to a cluster are protected: TLS, SASL, the
// secrets that they need, and the errors of a cluster that refuses us. It knows no
// connection; internal/wire uses it on each.
package secure
