package refine

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
)

func TestStepsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		step Step
		key  string
	}{
		"nothing to do":               {Step{Metric: "temp", Device: "*"}, "metric"},
		"dropped and scaled":          {Step{Drop: true, Scale: 0.1}, "drop"},
		"long pattern":                {Step{Metric: strings.Repeat("x", MaxPattern+1), Unit: "V"}, "metric"},
		"stars":                       {Step{Metric: strings.Repeat("*x", MaxStars+1), Unit: "V"}, "metric"},
		"stars in a row":              {Step{Metric: "a**", Unit: "V"}, "metric"},
		"braces":                      {Step{Device: "{device}", Unit: "V"}, "device"},
		"no text":                     {Step{Device: "\xff", Unit: "V"}, "device"},
		"rename refers to nothing":    {Step{Metric: "temp", Rename: "t.*"}, "rename"},
		"rename refers to more":       {Step{Metric: "a.*", Rename: "*.*"}, "rename"},
		"rename to itself":            {Step{Metric: "temp", Rename: "temp"}, "rename"},
		"long name":                   {Step{Rename: strings.Repeat("x", MaxPattern+1)}, "rename"},
		"long unit":                   {Step{Unit: strings.Repeat("x", MaxPattern+1)}, "unit"},
		"scale is infinite":           {Step{Scale: math.Inf(1)}, "scale"},
		"offset is no number":         {Step{Offset: math.NaN()}, "offset"},
		"min is no number":            {Step{Min: ptr(math.NaN())}, "min"},
		"empty range":                 {Step{Min: ptr(2.0), Max: ptr(1.0)}, "min"},
		"no range":                    {Step{OutOfRange: Discard, Unit: "V"}, "out_of_range"},
		"no such choice":              {Step{OutOfRange: 9, Min: ptr(1.0)}, "out_of_range"},
		"two deadbands":               {Step{Deadband: ptr(1.0), DeadbandPercent: ptr(1.0)}, "deadband_percent"},
		"negative deadband":           {Step{Deadband: ptr(-1.0)}, "deadband"},
		"no percentage":               {Step{DeadbandPercent: ptr(0.0)}, "deadband_percent"},
		"too many per cent":           {Step{DeadbandPercent: ptr(101.0)}, "deadband_percent"},
		"heartbeat of nothing":        {Step{Heartbeat: time.Minute}, "heartbeat"},
		"heartbeat within interval":   {Step{Deadband: ptr(0.0), Heartbeat: time.Minute, MinInterval: time.Hour}, "heartbeat"},
		"negative interval":           {Step{MinInterval: -1}, "min_interval"},
		"equal and above":             {Step{AlarmEquals: ptr("on"), AlarmAbove: ptr(1.0)}, "alarm_equals"},
		"always in alarm":             {Step{AlarmAbove: ptr(1.0), AlarmBelow: ptr(1.0)}, "alarm_below"},
		"never above":                 {Step{AlarmAbove: ptr(1.0), Max: ptr(1.0)}, "alarm_above"},
		"never below":                 {Step{AlarmBelow: ptr(1.0), Min: ptr(1.0), OutOfRange: Discard}, "alarm_below"},
		"hysteresis of nothing":       {Step{Hysteresis: 1}, "hysteresis"},
		"hysteresis of equality":      {Step{Hysteresis: 1, AlarmEquals: ptr("on")}, "hysteresis"},
		"negative hysteresis":         {Step{Hysteresis: -1, AlarmAbove: ptr(1.0)}, "hysteresis"},
		"hysteresis beyond the other": {Step{Hysteresis: 2, AlarmAbove: ptr(1.0), AlarmBelow: ptr(0.0)}, "hysteresis"},
		"delay of nothing":            {Step{Delay: time.Second}, "delay"},
	} {
		problems := c.step.Problems()
		if len(problems) != 1 || problems[0].Key != c.key || problems[0].What == "" || problems[0].Hint == "" {
			t.Errorf("%s: %+v, want one about %s", name, problems, c.key)
		}
		_, err := New(Config{Steps: []Step{{Unit: "V"}, c.step}})
		if err == nil || !strings.HasPrefix(err.Error(), "refine step 2: "+c.key+": ") || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStepsThatMakeSenseAreTaken(t *testing.T) {
	for _, s := range []Step{
		{Drop: true}, {Metric: "debug.*", Drop: true}, {Unit: "Cel"}, {Lane: ptr(reading.Normal)}, {Deadband: ptr(0.0)},
		{Metric: "*", Rename: "x.*"}, {Rename: "x.*"}, {Min: ptr(1.0), Max: ptr(1.0)},
		{AlarmAbove: ptr(1.0), Max: ptr(1.0), OutOfRange: MarkBad, Unit: "V"},
		{AlarmAbove: ptr(1.0), AlarmBelow: ptr(0.0), Hysteresis: 1, Delay: time.Second},
		{Deadband: ptr(0.0), Heartbeat: time.Minute, MinInterval: time.Minute},
	} {
		if _, err := New(Config{Steps: []Step{s}}); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestChainsAreBounded(t *testing.T) {
	if _, err := New(Config{Steps: make([]Step, MaxSteps+1)}); err == nil || !strings.Contains(err.Error(), "65 steps — hint: ") {
		t.Errorf("%v", err)
	}
	if _, err := New(Config{MaxSeries: -1}); err == nil {
		t.Error("a negative number of series was taken")
	}
}
