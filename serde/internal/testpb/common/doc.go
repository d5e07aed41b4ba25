// Package common holds a message that another package imports.
package common
