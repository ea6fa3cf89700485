package rollup

import (
	"fmt"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

func tenantName(i int) tenant.ID { return tenant.ID(fmt.Sprintf("tenant-%03d", i)) }

func vendorsOf() []string { return []string{"stripe", "sendgrid", "twilio", "github"} }

func typesOf() []string {
	return []string{"charge.succeeded", "mail.delivered", "message.delivered", "payment_intent.succeeded", "mail.open", "payment_intent.created",
		"workflow_run.completed", "push", "message.sent", "charge.failed", "mail.click", "workflow_run.requested", "invoice.paid", "message.failed",
		"mail.bounce", "charge.refunded", "charge.dispute.created", "release.published"}
}
