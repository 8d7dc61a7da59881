#include "wire/golden/types.h"

#include "proto/fileshare.h"

#include <string.h>

#define TYPE(type_)                                   \
    {                                                 \
#type_, (xdrproc_t)xdr_##type_, sizeof(type_) \
    }

static const struct wire_type types[] = {
    TYPE(fs_hello_args),        TYPE(fs_hello_res),        TYPE(fs_upload_args),
    TYPE(fs_entry_res),         TYPE(fs_upload_open_args), TYPE(fs_upload_open_res),
    TYPE(fs_upload_data_args),  TYPE(fs_upload_data_res),  TYPE(fs_upload_commit_args),
    TYPE(fs_upload_abort_args), TYPE(fs_done_res),         TYPE(fs_download_args),
    TYPE(fs_download_res),      TYPE(fs_list_args),        TYPE(fs_list_res),
    TYPE(fs_stat_args),         TYPE(fs_remove_args),      TYPE(fs_rename_args),
    TYPE(fs_register_args),     TYPE(fs_register_res),     TYPE(fs_cancel_args),
    TYPE(fs_cancel_res),        TYPE(fs_renew_args),       TYPE(fs_renew_res),
    TYPE(fs_interests_args),    TYPE(fs_interests_res),    TYPE(fs_attach_args),
    TYPE(fs_attach_res),        TYPE(fs_detach_args),      TYPE(fs_events_args),
    TYPE(fs_events_res),        TYPE(fs_status_res),       TYPE(fs_callback_hello_args),
    TYPE(fs_callback_hello),    TYPE(fs_notify_args),      TYPE(fs_notify),
    TYPE(fs_upload_many_args),  TYPE(fs_upload_many_res),  TYPE(fs_download_many_args),
    TYPE(fs_download_many_res),
};

enum { TYPES = sizeof(types) / sizeof(types[0]) };

const struct wire_type *wire_types(size_t *count)
{
    *count = TYPES;
    return types;
}

size_t wire_type_place(const char *name)
{
    size_t place = 0;

    while (place < TYPES && strcmp(types[place].name, name) != 0)
        place++;
    return place;
}
