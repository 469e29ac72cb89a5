// Only the verifier, which verifier.go here stands in for, calls what this file has there.
package verifier
