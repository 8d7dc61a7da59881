# Everything that rpcgen makes of proto/fileshare.x, in the build tree alone.
#
#   fs_wire                header and XDR routines of both programs
#   fs_server_stubs        client stubs of FILESHARE_PROG
#   fs_server_dispatch     dispatcher of FILESHARE_PROG
#   fs_callback_stubs      client stubs of FILESHARE_CALLBACK_PROG
#   fs_callback_dispatch   dispatcher of FILESHARE_CALLBACK_PROG
#
# Stubs and dispatchers are made from a .x with the other program cut away, so
# that no binary owes procedures it does not have. rpcgen writes its include
# line from the path it was given, and will not overwrite its output.

find_program(RPCGEN rpcgen REQUIRED)
set(wire_x ${PROJECT_SOURCE_DIR}/proto/fileshare.x)
set(wire_dir ${PROJECT_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${wire_dir}/proto)

function(rpcgen_output folder output)
    add_custom_command(OUTPUT ${output}
        COMMAND ${CMAKE_COMMAND} -E rm -f ${output}
        COMMAND ${RPCGEN} ${ARGN} -o ${output} proto/fileshare.x
        WORKING_DIRECTORY ${folder}
        DEPENDS ${wire_x} ${folder}/proto/fileshare.x
        COMMENT "rpcgen ${ARGN}" VERBATIM)
endfunction()

# One program alone: from "program NAME" to its closing "} = number;" is kept, the other is cut.
function(rpcgen_cut folder cut_program)
    file(MAKE_DIRECTORY ${folder}/proto)
    add_custom_command(OUTPUT ${folder}/proto/fileshare.x
        COMMAND sed "/^program ${cut_program} /,/^} = 0x/d" ${wire_x} > ${folder}/proto/fileshare.x
        DEPENDS ${wire_x} VERBATIM)
endfunction()

function(rpcgen_library name)
    add_library(${name} STATIC ${ARGN})
    target_link_libraries(${name} PUBLIC fileshare_build PkgConfig::TIRPC)
    target_include_directories(${name} PUBLIC ${wire_dir})
    # rpcgen's code warns; that is its own affair.
    target_compile_options(${name} PRIVATE -w)
endfunction()

find_package(PkgConfig REQUIRED)
pkg_check_modules(TIRPC REQUIRED IMPORTED_TARGET libtirpc)

rpcgen_output(${PROJECT_SOURCE_DIR} ${wire_dir}/proto/fileshare.h -M -h)
rpcgen_output(${PROJECT_SOURCE_DIR} ${wire_dir}/fileshare_xdr.c -M -c)
rpcgen_library(fs_wire ${wire_dir}/fileshare_xdr.c ${wire_dir}/proto/fileshare.h)
# Bulk bytes are not copied: see src/rpc/bulk.h. Never link this with a stock transport.
target_compile_definitions(fs_wire PRIVATE xdr_bytes=fs_xdr_bytes)

foreach(side server callback)
    if(side STREQUAL server)
        rpcgen_cut(${wire_dir}/${side} FILESHARE_CALLBACK_PROG)
    else()
        rpcgen_cut(${wire_dir}/${side} FILESHARE_PROG)
    endif()
    rpcgen_output(${wire_dir}/${side} ${wire_dir}/${side}/stubs.c -M -l)
    rpcgen_output(${wire_dir}/${side} ${wire_dir}/${side}/dispatch.c -M -m)
    rpcgen_library(fs_${side}_stubs ${wire_dir}/${side}/stubs.c)
    rpcgen_library(fs_${side}_dispatch ${wire_dir}/${side}/dispatch.c)
    target_link_libraries(fs_${side}_stubs PUBLIC fs_wire)
    target_link_libraries(fs_${side}_dispatch PUBLIC fs_wire)
    add_dependencies(fs_${side}_stubs fs_wire)
    add_dependencies(fs_${side}_dispatch fs_wire)
endforeach()
