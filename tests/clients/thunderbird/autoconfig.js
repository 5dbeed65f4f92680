pref("general.config.filename", "session.cfg");
pref("general.config.obscure_value", 0);
pref("general.config.sandbox_enabled", false);
pref("app.update.enabled", false);
pref("mail.shell.checkDefaultClient", false);
pref("mail.spotlight.firstRunDone", true);
pref("mailnews.start_page.enabled", false);
pref("datareporting.policy.dataSubmissionEnabled", false);
