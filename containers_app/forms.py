"""The forms of the log-in pages."""

from __future__ import annotations

from django import forms
from django.contrib.auth.forms import PasswordChangeForm, SetPasswordForm


class LogInForm(forms.Form):
    username = forms.CharField(max_length=150)
    password = forms.CharField(max_length=4096, strip=False, widget=forms.PasswordInput)


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg]  # generic only in the stubs
    """After a log-in with a one-time password, which need not be typed a second time. It can't be kept."""

    def clean_new_password1(self) -> str:
        password: str = self.cleaned_data["new_password1"]
        if self.user.check_password(password):
            raise forms.ValidationError("This is the one-time password. Choose another.")
        return password


__all__ = ["LogInForm", "NewPasswordForm", "PasswordChangeForm"]
