package source

import "github.com/pulsestream/pulsestream/internal/metric"

// github is GitHub: repository, organization and app webhooks, as JSON or as a form.
//
// The event's type is X-GitHub-Event alone ("pull_request"): the action stays in the data, as it does at GitHub. There is
// no time in a delivery, so it is the time of receipt. GitHub never retries by itself, but a delivery that somebody sends
// again from its list has the same X-GitHub-Delivery, and so is counted once.
func github() *Vendor {
	return &Vendor{
		Slug:       "github",
		Name:       "GitHub",
		Docs:       "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
		SecretHint: "The text in the field Secret of the webhook, under Settings → Webhooks of the repository or organization. Choose a long random one.",
		Scheme: Scheme{
			Header:    "X-Hub-Signature-256",
			Form:      Prefixed,
			Accept:    []string{"sha256="},
			Signed:    "{body}",
			Algorithm: HMACSHA256,
			Encoding:  Hex,
		},
		Mapping: Mapping{
			ID:        []Field{{Header: "X-GitHub-Delivery"}},
			Type:      []Field{{Header: "X-GitHub-Event"}},
			Subject:   []Field{{Path: "repository.full_name"}, {Path: "organization.login"}, {Path: "installation.account.login"}},
			FormField: "payload",
		},
		Metrics: githubMetrics(),
		Health: Health{
			Errors: Selection{Metric: "github-workflow-runs", Where: map[string][]string{"conclusion": {"failure", "timed_out", "startup_failure"}}},
			Total:  Selection{Metric: "github-workflow-runs"},
		},
	}
}

func githubMetrics() []metric.Definition {
	const (
		repository = "data.repository.full_name"
		workflow   = "data.workflow.name"
		completed  = `data.action == "completed"`
	)
	run := map[string]string{"source": "source", "repository": repository, "workflow": workflow}
	deployment := map[string]string{"source": "source", "repository": repository, "environment": "data.deployment.environment"}
	return []metric.Definition{
		{
			Slug: "github-workflow-runs", Name: "Workflow runs", Unit: "runs",
			Description: "Runs of GitHub Actions workflows that came to an end, by conclusion.",
			EventTypes:  []string{"workflow_run"}, Filter: completed,
			Dimensions: with(run, "conclusion", "data.workflow_run.conclusion"),
		},
		{
			Slug: "github-workflow-success", Name: "Workflow success rate", Unit: "ratio",
			Description: "1 for a workflow run that succeeded, 0 for one that failed or timed out; the average is the success rate. Runs that were cancelled or skipped don't count.",
			EventTypes:  []string{"workflow_run"},
			Filter:      completed + ` && data.workflow_run.conclusion in ["success", "failure", "timed_out", "startup_failure"]`,
			Value:       `data.workflow_run.conclusion == "success" ? 1.0 : 0.0`,
			Dimensions:  run,
		},
		{
			Slug: "github-workflow-duration", Name: "Workflow duration", Unit: "s",
			Description: "Seconds from the start of a workflow run's latest attempt to its end.",
			EventTypes:  []string{"workflow_run"}, Filter: completed,
			Value:      seconds("data.workflow_run.run_started_at", "data.workflow_run.updated_at"),
			Dimensions: with(run, "conclusion", "data.workflow_run.conclusion"),
		},
		{
			Slug: "github-job-queue-time", Name: "Job queue time", Unit: "s",
			Description: "Seconds that a workflow job waited for a runner.",
			EventTypes:  []string{"workflow_job"}, Filter: `data.action == "in_progress"`,
			Value:      seconds("data.workflow_job.created_at", "data.workflow_job.started_at"),
			Dimensions: map[string]string{"source": "source", "repository": repository, "workflow": "data.workflow_job.workflow_name"},
		},
		{
			Slug: "github-deployments", Name: "Deployments", Unit: "deployments",
			Description: "Deployments that came to an end, by environment and state (success, failure, error). The states on the way there are not counted: each deployment has several.",
			EventTypes:  []string{"deployment_status"}, Filter: `data.deployment_status.state in ["success", "failure", "error"]`,
			Dimensions: with(deployment, "state", "data.deployment_status.state"),
		},
		{
			Slug: "github-deployment-success", Name: "Deployment success rate", Unit: "ratio",
			Description: "1 for a deployment that succeeded, 0 for one that failed; the average is the success rate.",
			EventTypes:  []string{"deployment_status"}, Filter: `data.deployment_status.state in ["success", "failure", "error"]`,
			Value:      `data.deployment_status.state == "success" ? 1.0 : 0.0`,
			Dimensions: deployment,
		},
		{
			Slug: "github-pull-requests", Name: "Pull request activity", Unit: "actions",
			Description: "What happened to pull requests, by action; one that was closed by merging has the action merged.",
			EventTypes:  []string{"pull_request"},
			Dimensions: map[string]string{
				"source": "source", "repository": repository,
				"action": `data.action == "closed" && data.pull_request.merged == true ? "merged" : data.action`,
			},
		},
		{
			Slug: "github-pull-request-merge-time", Name: "Time to merge", Unit: "s",
			Description: "Seconds from opening a pull request to merging it; the count is that of merged pull requests.",
			EventTypes:  []string{"pull_request"}, Filter: `data.action == "closed" && data.pull_request.merged == true`,
			Value:      seconds("data.pull_request.created_at", "data.pull_request.merged_at"),
			Dimensions: map[string]string{"source": "source", "repository": repository},
		},
		{
			Slug: "github-pushes", Name: "Pushes", Unit: "pushes",
			Description: "Pushes to branches and tags, by repository.",
			EventTypes:  []string{"push"},
			Dimensions:  map[string]string{"source": "source", "repository": repository},
		},
		{
			Slug: "github-security-alerts", Name: "Security alerts", Unit: "alerts",
			Description: "What happened to alerts of Dependabot, code scanning and secret scanning, by kind and action.",
			EventTypes:  []string{"dependabot_alert", "code_scanning_alert", "secret_scanning_alert"},
			Dimensions:  map[string]string{"source": "source", "repository": repository, "kind": "type", "action": "data.action"},
		},
	}
}

// seconds is CEL for the seconds between two RFC 3339 times.
func seconds(from, to string) string {
	return "double((timestamp(" + to + ") - timestamp(" + from + ")).getSeconds())"
}

// with is dimensions and one more.
func with(dimensions map[string]string, name, expression string) map[string]string {
	more := map[string]string{name: expression}
	for n, e := range dimensions {
		more[n] = e
	}
	return more
}
