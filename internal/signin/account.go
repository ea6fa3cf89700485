package signin

import (
	"context"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
)

// What members do with their own accounts. By is always the principal of a session.

// own is the member who asks.
func (s *Service) own(ctx context.Context, by auth.Principal) (catalog.Entry[auth.Member], error) {
	id, _ := by.MemberID()
	return s.Catalog.Member(ctx, by.Tenant, id)
}

// proven is the member who asks, and shows the password once more. Failures are limited by the session.
func (s *Service) proven(ctx context.Context, by auth.Principal, password string, from Origin) (catalog.Entry[auth.Member], error) {
	e, err := s.own(ctx, by)
	if err != nil {
		return e, err
	}
	if e.Value.Secrets.Password == "" {
		return e, ErrNoPassword
	}
	if err := s.failures.takeSession(e.Tenant, by.Session, s.Now()); err != nil {
		return e, err
	}
	right, err := s.hasher.matches(ctx, e.Value.Secrets.Password, password)
	if err != nil {
		return e, err
	}
	if !right {
		s.failed(ctx, Failure{Tenant: e.Tenant, Member: e.Slug, Method: auth.MethodPassword, From: from, Reason: "the current password is wrong"})
		return e, ErrWrongCurrent
	}
	s.failures.giveSession(e.Tenant, by.Session)
	return e, nil
}

// SetPassword changes the password of who asks, and ends all their other sessions.
func (s *Service) SetPassword(ctx context.Context, by auth.Principal, current, next string, from Origin) error {
	e, err := s.proven(ctx, by, current, from)
	if err != nil {
		return err
	}
	if err := s.checkPassword(ctx, &e, next, ""); err != nil {
		return err
	}
	hash, err := s.hasher.hash(ctx, next)
	if err != nil {
		return err
	}
	was := e.Value.Secrets.Password
	if _, err := s.changing(ctx, e, func(m *auth.Member) error {
		if m.Secrets.Password != was {
			return ErrWrongCurrent
		}
		m.Secrets.Password, m.Secrets.Invitation = hash, ""
		return nil
	}); err != nil {
		return err
	}
	return s.EndAll(ctx, by.Tenant, e.Slug, by.Session)
}

// NewTOTP makes a secret for an authenticator app. It counts from the first code on that is shown to ConfirmTOTP.
func (s *Service) NewTOTP(ctx context.Context, by auth.Principal, password string, from Origin) (secret, url string, err error) {
	e, err := s.proven(ctx, by, password, from)
	if err != nil {
		return "", "", err
	}
	secret = newTOTPSecret()
	_, err = s.changing(ctx, e, func(m *auth.Member) error {
		if m.Secrets.TOTP != "" {
			return ErrHasTOTP
		}
		m.Secrets.TOTPNext = secret
		return nil
	})
	return secret, totpURL(secret, "PulseStream", e.Value.Email), err
}

// ConfirmTOTP has codes asked for from now on, and gives codes that take their place when the app is lost, this once.
func (s *Service) ConfirmTOTP(ctx context.Context, by auth.Principal, code string) (recovery []string, err error) {
	err = s.withCode(ctx, by, func(m *auth.Member) error {
		if m.Secrets.TOTPNext == "" {
			return ErrNoTOTP
		}
		step, ok := totpMatch(m.Secrets.TOTPNext, bare(code), 0, s.Now())
		if !ok {
			return ErrWrongCode
		}
		m.Secrets.TOTP, m.Secrets.TOTPNext, m.Secrets.TOTPLast = m.Secrets.TOTPNext, "", step
		recovery, m.Secrets.Recovery = newRecovery()
		return nil
	})
	return recovery, err
}

// EndTOTP has no codes asked for any more.
func (s *Service) EndTOTP(ctx context.Context, by auth.Principal, code string) error {
	return s.withCode(ctx, by, func(m *auth.Member) error {
		if m.Secrets.TOTP == "" {
			return ErrNoTOTP
		}
		if _, ok := use(m.Secrets, code, s.Now()); !ok {
			return ErrWrongCode
		}
		m.Secrets.TOTP, m.Secrets.TOTPLast, m.Secrets.Recovery = "", 0, nil
		return nil
	})
}

// withCode changes the member who asks by means of a code. Wrong ones are limited by the session.
func (s *Service) withCode(ctx context.Context, by auth.Principal, change func(*auth.Member) error) error {
	e, err := s.own(ctx, by)
	if err != nil {
		return err
	}
	if err := s.failures.takeSession(e.Tenant, by.Session, s.Now()); err != nil {
		return err
	}
	if _, err := s.changing(ctx, e, change); err != nil {
		return err
	}
	s.failures.giveSession(e.Tenant, by.Session)
	return nil
}
