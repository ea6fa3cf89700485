package demo

import (
	"strconv"
	"time"
)

// repo is a repository of the shop's developers.
type repo struct {
	name string
	id   int
}

func (r repo) json() object {
	return object{
		"id": r.id, "name": r.name, "full_name": "tea-shop/" + r.name, "private": true, "default_branch": "main",
		"owner": object{"login": "tea-shop", "id": 9100, "type": "Organization"}, "html_url": "https://github.com/tea-shop/" + r.name,
	}
}

func repos() []weighted[repo] {
	return []weighted[repo]{{0.38, repo{"storefront", 7001}}, {0.24, repo{"payments", 7002}}, {0.18, repo{"warehouse", 7003}}, {0.12, repo{"mobile", 7004}}, {0.08, repo{"infrastructure", 7005}}}
}

// workflow is what is run on a push. Seconds is how long it usually takes, flaky how often it fails.
type workflow struct {
	name           string
	id             int
	seconds, flaky float64
}

func workflows() []weighted[workflow] {
	return []weighted[workflow]{
		{0.45, workflow{"test", 501, 240, 0.05}}, {0.3, workflow{"lint", 502, 55, 0.02}}, {0.15, workflow{"end-to-end", 503, 620, 0.08}},
		{0.1, workflow{"release", 504, 380, 0.03}},
	}
}

func people() []weighted[string] {
	return []weighted[string]{{0.3, "mira"}, {0.25, "jonas"}, {0.2, "aiko"}, {0.15, "tomas"}, {0.1, "renovate-bot"}}
}

// delivery adds a webhook of GitHub's.
func (s *story) delivery(after time.Duration, kind string, r repo, body object) {
	body["repository"] = r.json()
	body["organization"] = object{"login": "tea-shop", "id": 9100}
	if body["sender"] == nil {
		body["sender"] = sender(choose(s.Rand, s.people))
	}
	s.emit(after, githubSource, uuid(s.Rand), kind, "tea-shop/"+r.name, body)
}

func sender(login string) object {
	kind := "User"
	if login == "renovate-bot" {
		kind = "Bot"
	}
	return object{"login": login, "type": kind}
}

func (s *story) sha() string { return token(s.Rand, hexDigits, 40) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (s *story) push() {
	r, who, after := choose(s.Rand, s.repos), choose(s.Rand, s.people), s.sha()
	branch := "refs/heads/" + choose(s.Rand, []weighted[string]{{0.4, "main"}, {0.6, who + "/" + token(s.Rand, hexDigits, 6)}})
	commits := []object{}
	for range 1 + poisson(s.Rand, 0.8) {
		commits = append(commits, object{"id": s.sha(), "message": "Change " + token(s.Rand, hexDigits, 4), "timestamp": stamp(s.begin), "author": object{"username": who}})
	}
	s.delivery(0, "push", r, object{
		"ref": branch, "before": s.sha(), "after": after, "created": false, "deleted": false, "forced": s.chance(0.05), "commits": commits,
		"head_commit": commits[len(commits)-1], "pusher": object{"name": who}, "sender": sender(who),
	})
}

func (s *story) pull() {
	r, who := choose(s.Rand, s.repos), choose(s.Rand, s.people)
	action := choose(s.Rand, []weighted[string]{{0.3, "opened"}, {0.35, "synchronize"}, {0.3, "closed"}, {0.05, "reopened"}})
	created := s.begin
	pull := object{"number": 1000 + s.IntN(9000), "title": "Change " + token(s.Rand, hexDigits, 4), "state": "open", "draft": s.chance(0.1), "merged": false, "merged_at": nil,
		"user": object{"login": who}, "additions": int(around(s.Rand, 60, 1)), "deletions": int(around(s.Rand, 25, 1)), "changed_files": 1 + poisson(s.Rand, 3)}
	if action != "opened" {
		created = created.Add(-time.Duration(around(s.Rand, 6, 1) * float64(time.Hour)))
	}
	if action == "closed" {
		pull["state"], pull["closed_at"] = "closed", stamp(s.begin)
		if s.chance(0.88) {
			pull["merged"], pull["merged_at"] = true, stamp(s.begin)
		}
	}
	pull["created_at"], pull["updated_at"] = stamp(created), stamp(s.begin)
	s.delivery(0, "pull_request", r, object{"action": action, "number": pull["number"], "pull_request": pull, "sender": sender(who)})
}

// build is a workflow run that comes to its end, and a job of another one that is given a runner.
func (s *story) build() {
	r, w := choose(s.Rand, s.repos), choose(s.Rand, s.workflows)
	took, conclusion := around(s.Rand, w.seconds, 0.25), "success"
	switch draw, broken := s.Float64(), s.script.down(githubDown, s.begin); {
	case broken && draw < 0.88:
		conclusion, took = choose(s.Rand, []weighted[string]{{0.8, "failure"}, {0.2, "timed_out"}}), 40+took/4
	case draw < w.flaky:
		conclusion = "failure"
	case draw < w.flaky+0.04:
		conclusion, took = "cancelled", took/2
	}
	started := s.begin.Add(-time.Duration(took * float64(time.Second)))
	id, sha := 1_000_000_000+s.Int64N(9_000_000_000), s.sha()
	s.delivery(0, "workflow_run", r, object{
		"action": "completed", "workflow": object{"id": w.id, "name": w.name, "path": ".github/workflows/" + w.name + ".yml"},
		"workflow_run": object{
			"id": id, "name": w.name, "run_number": s.IntN(90_000), "run_attempt": 1, "event": "push", "status": "completed", "conclusion": conclusion, "head_branch": "main",
			"head_sha": sha, "workflow_id": w.id, "created_at": stamp(started.Add(-4 * time.Second)), "run_started_at": stamp(started), "updated_at": stamp(s.begin),
		},
	})
	queued := around(s.Rand, 8, 0.8)
	at := s.between(0, 5*time.Second)
	s.delivery(at, "workflow_job", r, object{"action": "in_progress", "workflow_job": object{
		"id": id + 1, "run_id": id, "workflow_name": w.name, "name": w.name + " (" + strconv.Itoa(1+s.IntN(4)) + ")", "status": "in_progress", "conclusion": nil, "head_sha": sha,
		"labels": []string{"ubuntu-latest"}, "created_at": stamp(s.at(at).Add(-time.Duration(queued * float64(time.Second)))), "started_at": stamp(s.at(at)),
	}})
}

func (s *story) deploy() {
	r, env := choose(s.Rand, s.repos), choose(s.Rand, []weighted[string]{{0.65, "staging"}, {0.35, "production"}})
	state := choose(s.Rand, []weighted[string]{{0.95, "success"}, {0.05, "failure"}})
	if s.script.down(githubDown, s.begin) && s.chance(0.6) {
		state = "failure"
	}
	s.delivery(0, "deployment_status", r, object{
		"action":            "created",
		"deployment":        object{"id": 5_000_000 + s.IntN(1_000_000), "sha": s.sha(), "ref": "main", "task": "deploy", "environment": env, "created_at": stamp(s.begin.Add(-2 * time.Minute))},
		"deployment_status": object{"id": 6_000_000 + s.IntN(1_000_000), "state": state, "environment": env, "created_at": stamp(s.begin)},
	})
}

// advisory is Dependabot with bad news, or with good.
func (s *story) advisory() {
	r := choose(s.Rand, s.repos)
	action := choose(s.Rand, []weighted[string]{{0.6, "created"}, {0.4, "fixed"}})
	s.delivery(0, "dependabot_alert", r, object{"action": action, "sender": sender("renovate-bot"), "alert": object{
		"number": 1 + s.IntN(900), "created_at": stamp(s.begin), "security_advisory": object{"severity": choose(s.Rand, []weighted[string]{{0.2, "critical"}, {0.4, "high"}, {0.4, "medium"}})},
	}})
}
