# SPDX-License-Identifier: GPL-2.0-only
# bash completion for pagescan: the words come from the command's own --help.

_pagescan()
{
	local word=${COMP_WORDS[COMP_CWORD]}
	local words=

	if [ "$COMP_CWORD" = 1 ]; then
		words="--help --version $(pagescan --help 2>/dev/null | sed -n 's/^  \([a-z-]*\) .*/\1/p')"
	else
		case ${COMP_WORDS[1]} in
		criu)
			# criu's own words, where its completion is installed.
			if declare -F _command_offset >/dev/null; then
				_command_offset 1
				return
			fi
			;;
		pre-dump)
			words="--help --tree --images-dir --prev-images-dir --page-server --address --port"
			words="$words --jobs --max-bandwidth --json"
			words=$(_pagescan_value "$words")
			;;
		dump)
			words="--help --tree --images-dir --downtime-limit --max-rounds --timeout --on-timeout"
			words="$words --leave-running --page-server --address --port"
			words=$(_pagescan_value "$words --jobs --max-bandwidth --json --")
			;;
		migrate)
			words="--help --tree --downtime-limit --max-rounds --timeout --on-timeout --jobs --max-bandwidth"
			words="$words --container --runtime --bundle"
			words="$words --tcp --compress --base --no-warm --rsh --remote-pagescan --work-dir --json --"
			words=$(_pagescan_value "$words")
			;;
		receive)
			words="--help --images-dir --container --runtime --bundle --base --no-warm --settle --"
			words=$(_pagescan_value "$words")
			;;
		watch)
			words="--help --interval --count --json $(_pagescan_pids)"
			;;
		report)
			words="--help --output $(compgen -d -- "$word")"
			words=$(_pagescan_value "$words")
			;;
		check | status)
			words="--help --json"
			;;
		scan)
			words="--help --json --required --anyof --excluded --regions $(_pagescan_pids)"
			;;
		verify)
			words="--help --pid $(compgen -d -- "$word")"
			[ "${COMP_WORDS[COMP_CWORD - 1]}" != --pid ] || words=$(_pagescan_tracked)
			;;
		untrack)
			words="--help --all $(_pagescan_tracked)"
			;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

# What may follow the word before; else the words given.
_pagescan_value()
{
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	-t | --tree) _pagescan_pids ;;
	-D | --images-dir | --prev-images-dir | --work-dir | --bundle) compgen -d -- "${COMP_WORDS[COMP_CWORD]}" ;;
	-o | --output) compgen -f -- "${COMP_WORDS[COMP_CWORD]}" ;;
	--on-timeout) echo cancel force ;;
	--compress) echo lz4 ;;
	*) echo "$1" ;;
	esac
}

_pagescan_pids()
{
	cd /proc && echo [0-9]*
}

_pagescan_tracked()
{
	pagescan status 2>/dev/null | awk 'NR > 1 { print $1 }'
}

complete -F _pagescan pagescan
