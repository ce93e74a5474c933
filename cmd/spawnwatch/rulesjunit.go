package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"os"
)

// The form that CI systems read: https://github.com/testmoapp/junitxml describes what they agree on.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		File    string        `xml:"file,attr"`
		Line    int           `xml:"line,attr"`
		Failure *junitFailure `xml:"failure"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// document has a suite for each file of cases.
func (r *caseReport) document() junitSuites {
	doc := junitSuites{Tests: len(r.results), Failures: r.failed()}
	suites := map[string]int{}
	for i := range r.results {
		res := &r.results[i]
		at, ok := suites[res.Test.File]
		if !ok {
			at = len(doc.Suites)
			suites[res.Test.File] = at
			doc.Suites = append(doc.Suites, junitSuite{Name: res.Test.File})
		}
		s := &doc.Suites[at]
		c := junitCase{Class: r.title(res), Name: res.Test.Name, File: res.Test.File, Line: res.Test.Line}
		if !res.OK {
			s.Failures++
			c.Failure = &junitFailure{Message: res.Detail, Text: res.Explain.String()}
		}
		s.Tests++
		s.Cases = append(s.Cases, c)
	}
	return doc
}

func (r *caseReport) writeJUnit(out io.Writer, file string) error {
	text, err := xml.MarshalIndent(r.document(), "", "  ")
	if err != nil {
		return fmt.Errorf("--junit: %w", err)
	}
	text = append([]byte(xml.Header), append(text, '\n')...)
	if file == "-" {
		_, err = out.Write(text)
	} else {
		err = os.WriteFile(file, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("--junit: %w", err)
	}
	return nil
}
