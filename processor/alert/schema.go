package alert

import _ "embed" // the schemas are files, so that an editor or a pipeline can use them as they are

//go:embed schema.json
var schema string

//go:embed deadletter.schema.json
var deadLetterSchema string

// Schema is the JSON Schema (2020-12) of the native format. It is strict: an unknown field is refused.
func Schema() []byte { return []byte(schema) }

// DeadLetterSchema is the JSON Schema (2020-12) of a dead letter in the form of [AppendDeadLetter].
func DeadLetterSchema() []byte { return []byte(deadLetterSchema) }
