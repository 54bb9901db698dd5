# SPDX-License-Identifier: Apache-2.0
#
# Events of a cluster (JSON Lines) to a table of phases; `report` runs it.

function value(key,    at, rest) {
	at = index($0, "\"" key "\":\"")
	if (!at)
		return ""
	rest = substr($0, at + length(key) + 4)
	return substr(rest, 1, index(rest, "\"") - 1)
}

# Seconds of the day, and days that pass are counted.
function seconds(time,    s) {
	s = substr(time, 12, 2) * 3600 + substr(time, 15, 2) * 60
	s += substr(time, 18, length(time) - 18)
	if (s + day < last)
		day += 86400
	last = s + day
	return last
}

# A phase begins with its first node and ends with its last.
function begins(phase) {
	if (!(phase in from))
		from[phase] = now
}
function ends(phase) {
	begins(phase)
	to[phase] = now
}

function check_name(why) {
	return substr(why, 1, index(why, ":") - 1)
}

function checks_now(    name) {
	for (name in check)
		if (check[name] != "pass")
			return 0
	return 1
}

# How often a node has entered a state tells the two boots apart.
function node_state(node, was, is,    boot) {
	boot = visits[node, "booting"] ? visits[node, "booting"] : 0
	visits[node, is]++
	if (ups[node])
		return
	if (is == "booting")
		begins(boot ? "disk" : "S2")
	if (was == "booting")
		ends(boot > 1 ? "disk" : "S2")
	if (is == "partitioning" && boot <= 1)
		begins("S3")
	if (was == "partitioning" && boot <= 1)
		ends("S3")
	if (is == "installing")
		begins("S4")
	if (was == "installing")
		ends("S4")
	if (is == "configuring")
		begins("S5")
	if (is == "up") {
		ends("S5")
		ups[node] = 1
	}
}

function event() {
	if (what == "state" && object ~ /^networks\//) {
		if (is == "starting")
			begins("S1")
		if (is == "up" && !("S1" in to))
			ends("S1")
	} else if (what == "state" && object ~ /^images\//) {
		if (is == "building")
			begins("image")
		if (is == "ready" && "image" in from)
			ends("image")
	} else if (what == "state" && object ~ /^nodes\//) {
		node_state(object, was, is)
	} else if (what == "verb" && is == "off" && !killed) {
		killed = now
	} else if (what == "check") {
		check[check_name(why)] = is
	}
	if (what != "check" || !("S5" in to) || !checks_now())
		return
	if (!("S6" in to)) {
		from["S6"] = to["S5"]
		ends("S6")
	} else if (killed && is == "pass") {
		from["kill"] = killed
		ends("kill")
	}
}

function row(name, what, hand, phase) {
	if (phase in to)
		printf "| %s | %s | %s | %.1f s | %.1f s |\n", name, what, hand,
			to[phase] - from[phase], to[phase] - start
	else
		printf "| %s | %s | %s | | |\n", name, what, hand
}

{
	line[NR] = $0
	if (value("object") == "cluster" && value("change") == "state" &&
	    value("from") == "down")
		candidate = NR
	if (value("change") == "disk" && value("to") == "installed")
		first = candidate
}

END {
	if (!first) {
		print "report: events tell of no installation" >"/dev/stderr"
		exit 1
	}
	# A check that has not spoken yet is one that has not passed.
	for (i = first; i <= NR; i++) {
		$0 = line[i]
		if (value("change") == "check")
			check[check_name(value("why"))] = "waiting"
	}
	for (i = first; i <= NR; i++) {
		$0 = line[i]
		now = seconds(value("time"))
		if (i == first)
			start = now
		object = value("object")
		what = value("change")
		was = value("from")
		is = value("to")
		why = value("why")
		event()
	}
	print "| phase | what | by hand | here | ends at |"
	print "| --- | --- | --- | --- | --- |"
	if ("image" in to)
		row("S0", "images built of Debian packages (once)", "", "image")
	rest = "part of the other 2 h"
	row("S1", "a network of layer 2", rest, "S1")
	row("S2", "three machines boot over it and answer SSH", rest, "S2")
	row("S3", "disks partitioned, formatted, mounted", rest, "S3")
	row("S4", "a system is installed", "3 h, failed", "S4")
	row("", "and boots from its own disk", "", "disk")
	row("S5", "certificates, configuration, services", rest, "S5")
	row("S6", "validation: every check passes", "never reached", "S6")
	if (killed)
		row("", "the leader's plug is pulled; it is back, nothing lost",
			"", "kill")
	total = ("kill" in to) ? to["kill"] : to["S6"]
	printf "| all | | 5 h | **%.0f s** | |\n", total - start
}
