// Package zxcvbn is the maintained copy of this module, which the engine requires too.
package zxcvbn

import "github.com/ccojocar/zxcvbn-go"

var PasswordStrength = zxcvbn.PasswordStrength
