/*
 * translate: texts for people, in their language (gettext, domain "fileshare").
 *
 * _("...") is translated where it stands; N_("...") marks a text of a table,
 * which is translated when it is shown, by _(row->text). Lines that programs
 * read (words such as "arrived", JSON) are never translated. Catalogues: po/.
 */
#pragma once

#include <libintl.h>

#define _(text)  gettext(text)
#define N_(text) (text)
